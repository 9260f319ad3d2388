from parcs.server import Service, serve


class Strips(Service):
    """The area of every p-th strip, from the first one given."""

    def run(self):
        first, p, n = self.recv()
        width = 1.0 / n
        self.send(width * sum(4.0 / (1.0 + ((i + 0.5) * width) ** 2) for i in range(first, n, p)))


serve(Strips())
