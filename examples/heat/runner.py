import os
from itertools import pairwise

import numpy as np
from plate import plate, serial

from parcs.server import Runner, serve


class Heat(Runner):
    """Cuts the plate into strips, links neighbours, and puts the result together again."""

    def run(self):
        n, steps, p = (int(os.environ[name]) for name in ("N", "STEPS", "P"))
        strips = np.array_split(plate(n), min(p, n // 3))
        points = self.engine.run_all("heat", len(strips))
        for above, below in pairwise(points):
            above.link(below, "lower", "upper")
        for i, (point, rows) in enumerate(zip(points, strips, strict=True)):
            point.send((rows, steps, i > 0, i < len(points) - 1), codec="pickle")
        result = np.vstack([point.recv() for point in points])
        return {"equal": bool(np.array_equal(result, serial(n, steps))), "mean": float(result.mean())}


serve(Heat())
