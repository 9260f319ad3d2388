import os

from parcs.server import Runner, serve


class Tree(Runner):
    """Starts the root, and returns how many leaves the tree has."""

    def run(self):
        with self.engine.run("tree") as root:
            root.send([int(os.environ["DEPTH"]), int(os.environ["FANOUT"])])
            return root.recv()


serve(Tree())
