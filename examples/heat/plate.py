"""One step of the heat equation, explicit in time: the same for a strip and for the whole plate."""

import numpy as np

RATE = 0.2


def plate(n: int) -> np.ndarray:
    """A cold plate with one hot edge and a hot spot."""
    start = np.zeros((n, n))
    start[0] = 100.0
    start[n // 2 : n // 2 + n // 8, n // 4 : n // 2] = 50.0
    return start


def step(rows: np.ndarray) -> np.ndarray:
    """All rows but the first and last, one step later; left and right edges stay as they are."""
    new = rows[1:-1].copy()
    middle = rows[1:-1, 1:-1]
    around = rows[:-2, 1:-1] + rows[2:, 1:-1] + rows[1:-1, :-2] + rows[1:-1, 2:]
    new[:, 1:-1] = middle + RATE * (around - 4.0 * middle)
    return new


def serial(n: int, steps: int) -> np.ndarray:
    """The whole plate, in one process."""
    rows = plate(n)
    for _ in range(steps):
        rows[1:-1] = step(rows)
    return rows
