import numpy as np
from plate import step

from parcs.server import Service, serve


class Strip(Service):
    """Some rows of the plate; swaps edge rows with its neighbours before every step."""

    def run(self):
        rows, steps, has_upper, has_lower = self.recv()
        upper = self.peer("upper") if has_upper else None
        lower = self.peer("lower") if has_lower else None
        rows = rows.copy()
        for _ in range(steps):
            if upper:
                upper.send(rows[0])
            if lower:
                lower.send(rows[-1])
            padded = [rows]
            if upper:
                padded.insert(0, upper.recv()[None])
            if lower:
                padded.append(lower.recv()[None])
            first, last = 0 if upper else 1, len(rows) if lower else len(rows) - 1
            rows[first:last] = step(np.vstack(padded))
        self.send(rows)


serve(Strip())
