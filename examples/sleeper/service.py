import time

from parcs.server import Service, serve


class Sleeper(Service):
    def run(self):
        time.sleep(self.recv())
        self.send("good morning")


serve(Sleeper())
