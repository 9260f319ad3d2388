"""How many tasks a worker is given at a time.

Short tasks travel in batches, or messages would cost more than work; long ones one by one, or one worker
would hoard what another could do. What is short is measured: the mean time of the latest tasks. Until the
first result is back, every worker has one task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

BATCH_S: Final = 0.002
LARGEST_BATCH: Final = 256
SPIN_S: Final = 0.0001
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


class Spin:
    """Whether to look again for a moment before going to sleep.

    To be woken costs a process some 50 µs, more than a short task. So a wait begins with looking again
    and again for ``SPIN_S``, as long as the last wait shows that this is likely to be enough.
    """

    def __init__(self) -> None:
        self._is_quick = False

    def wait(self, look: Callable[[], object], sleep: Callable[[], None]) -> None:
        """Call ``sleep``, which returns at once if ``look`` is true; look for that first."""
        begin = now = time.perf_counter()
        if self._is_quick:
            while now - begin < SPIN_S and not look():
                now = time.perf_counter()
        sleep()
        self._is_quick = time.perf_counter() - begin < 2 * SPIN_S
