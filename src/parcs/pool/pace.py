"""How many tasks a worker is given at a time.

Short tasks travel in batches, or messages would cost more than work; long ones one by one, or one worker
would hoard what another could do. What is short is measured: the mean time of the latest tasks. Until the
first result is back, every worker has one task.
"""

from __future__ import annotations

from typing import Final, NamedTuple

BATCH_S: Final = 0.002
LARGEST_BATCH: Final = 256
_NEWEST: Final = 0.3


class Allowance(NamedTuple):
    """``batch``: tasks in one message; ``held``: tasks a worker may have at once."""

    batch: int
    held: int


class Pace:
    """Measures tasks, and says what to give a worker."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def measured(self, tasks: int, seconds: float) -> None:
        """``tasks`` more took ``seconds`` together."""
        if tasks:
            mean = seconds / tasks
            before = mean if self._mean_s is None else self._mean_s
            self._mean_s = before + _NEWEST * (mean - before)

    @property
    def allowance(self) -> Allowance:
        """What a worker may get now."""
        if self._mean_s is None or self._mean_s > 5 * BATCH_S:
            return Allowance(1, 1)
        batch = max(1, min(LARGEST_BATCH, int(BATCH_S / max(self._mean_s, 1e-9))))
        return Allowance(batch, 2 * batch)
