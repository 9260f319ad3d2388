from parcs.errors import EndOfChannelError
from parcs.server import Service, serve


class Multiplier(Service):
    """Multiplies pairs of blocks until its creator has no more."""

    def run(self):
        try:
            while True:
                a, b = self.recv()
                self.send(a @ b)
        except EndOfChannelError:
            return


serve(Multiplier())
