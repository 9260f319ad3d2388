import math
import os

from parcs.server import Runner, serve


class Pi(Runner):
    """Deals the strips out to P points and adds up their areas."""

    def run(self):
        n, p = int(os.environ["N"]), int(os.environ["P"])
        points = self.engine.run_all("pi", p)
        for first, point in enumerate(points):
            point.send([first, p, n])
        return math.fsum(point.recv() for point in points)


serve(Pi())
