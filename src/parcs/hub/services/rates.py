"""How often somebody may ask."""

from __future__ import annotations

import time
from typing import Final

_BURST_S: Final = 5.0


class Rates:
    """Token buckets: how many requests each user may still make.

    Args:
        per_s: on the average; 0 is no limit.
        burst: at once; five seconds' worth if nothing is said.
    """

    def __init__(self, per_s: float, burst: float | None = None) -> None:
        self._per_s, self._most = per_s, per_s * _BURST_S if burst is None else burst
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> bool:
        """One request; False if it is one too many."""
        if not self._per_s:
            return True
        now = time.monotonic()
        left, at = self._left.get(who, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_s) - 1
        if left < 0:
            return False
        if len(self._left) > 10_000:
            self._left.clear()
        self._left[who] = (left, now)
        return True
