from parcs.server import Service, serve


class Node(Service):
    """A leaf counts one; any other point starts FANOUT more and counts theirs."""

    def run(self):
        depth, fanout = self.recv()
        if depth == 0:
            self.send(1)
            return
        children = self.engine.run_all("tree", fanout)
        for child in children:
            child.send([depth - 1, fanout])
        self.send(sum(child.recv() for child in children))


serve(Node())
