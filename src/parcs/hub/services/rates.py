"""How often somebody may ask."""

from __future__ import annotations

import time
from typing import Final

_BURST_S: Final = 5.0


class Rates:
    """Token buckets: how many requests each user may still make."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> bool:
        """One request; False if it is one too many."""
        if not self._per_s:
            return True
        most = self._per_s * _BURST_S
        now = time.monotonic()
        left, at = self._left.get(who, (most, now))
        left = min(most, left + (now - at) * self._per_s) - 1
        if left < 0:
            return False
        if len(self._left) > 10_000:
            self._left.clear()
        self._left[who] = (left, now)
        return True
