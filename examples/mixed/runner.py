import os

from parcs.server import Runner, serve


class MixedRunner(Runner):
    """Splits [2, N) over P points, the even ones Python, the odd ones Go; returns N's divisors."""

    def run(self):
        n, p = int(os.environ["N"]), int(os.environ["P"])
        python = self.engine.run_all("factor", (p + 1) // 2)
        go = self.engine.run_all("factor-go", p // 2)
        points = [(python if i % 2 == 0 else go)[i // 2] for i in range(p)]
        for i, point in enumerate(points):
            point.send_all(n, 2 + (n - 2) * i // p, 2 + (n - 2) * (i + 1) // p)
        return sorted(fact for point in points for fact in point.recv())


serve(MixedRunner())
