"""Looking again for a moment before going to sleep.

To be woken costs a process some 50 µs, more than a short task takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SPIN_S: Final = 0.0001


class Spin:
    """Whether to look again for a moment before going to sleep.

    A wait begins with looking again and again for ``SPIN_S``, as long as the last wait showed that this is
    likely to be enough; with more programs than processors it is not, and nothing spins.
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
