import os
from itertools import pairwise

from parcs.server import Runner, serve


class FactorRunner(Runner):
    """Splits [2, N) over P points, and collects the divisors they find, in order."""

    def run(self):
        n, p = int(os.environ["N"]), int(os.environ["P"])
        points = self.engine.run_all("factor", p)
        bounds = [2 + max(n - 2, 0) * i // p for i in range(p + 1)]
        for point, (a, b) in zip(points, pairwise(bounds), strict=True):
            point.send_all(n, a, b)
        facts = [fact for point in points for fact in point.recv()]
        for point in points:
            point.shutdown()
        return facts


serve(FactorRunner())
