import os

from parcs.server import Runner, serve


class FactorRunner(Runner):
    def run(self):
        n, p = int(os.environ["N"]), int(os.environ["P"])
        points = self.engine.run_all("factor", p)
        bounds = [2 + (n - 2) * i // p for i in range(p + 1)]
        for point, a, b in zip(points, bounds, bounds[1:], strict=False):
            point.send_all(n, a, b)
        facts = sorted(fact for point in points for fact in point.recv())
        for point in points:
            point.shutdown()
        return facts


serve(FactorRunner())
