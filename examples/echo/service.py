from parcs.errors import EndOfChannelError
from parcs.server import Service, serve


class Echo(Service):
    """Sends back what it is sent, until its creator closes the channel."""

    def run(self):
        try:
            while True:
                self.send(self.recv())
        except EndOfChannelError:
            self.logger.info("nothing more to echo")


serve(Echo())
