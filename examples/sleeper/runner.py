import os
import time

from parcs.server import Runner, serve


class SleeperRunner(Runner):
    """Has P points sleep at once; returns how long that took, in seconds."""

    def run(self):
        points = self.engine.run_all("sleeper", int(os.environ["P"]))
        begin = time.monotonic()
        for point in points:
            point.send(float(os.environ["S"]))
        for point in points:
            point.recv()
        return time.monotonic() - begin


serve(SleeperRunner())
