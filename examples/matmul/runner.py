import os
from itertools import product

import numpy as np

from parcs import wait_any
from parcs.server import Runner, serve


class MatMul(Runner):
    """Hands pairs of row and column blocks to whichever point is free, and checks the whole product."""

    def run(self):
        n, block, p = (int(os.environ[name]) for name in ("N", "BLOCK", "P"))
        random = np.random.default_rng(seed=1)
        a, b = random.random((n, n)), random.random((n, n))
        result = np.empty((n, n))
        todo = list(product(range(0, n, block), repeat=2))
        points = self.engine.run_all("matmul", min(p, len(todo)))
        doing = {}

        def hand_out(point):
            if todo:
                i, j = doing[point] = todo.pop()
                point.send((a[i : i + block], b[:, j : j + block]), codec="pickle")

        for point in points:
            hand_out(point)
        while doing:
            for point in wait_any(list(doing)):
                i, j = doing.pop(point)
                result[i : i + block, j : j + block] = point.recv()
                hand_out(point)
        return {"largest_error": float(np.abs(result - a @ b).max()), "blocks": len(range(0, n, block)) ** 2}


serve(MatMul())
