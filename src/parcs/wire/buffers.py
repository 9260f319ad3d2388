"""Memory for large message bodies, used again once nobody holds it.

A fresh 64 MiB buffer costs as much in page faults as the copy out of the kernel: measured on loopback,
receiving into a fresh buffer runs at half the rate of receiving into a used one. So a body that its
receiver has dropped is taken for the next message. "Nobody holds it" is CPython's reference count:
slices, memory views and numpy arrays over a body all hold a reference to it.

A body is never allocated on the word of a header: it grows as its bytes arrive.
"""

from __future__ import annotations

import sys
from typing import Final

FIRST_STEP: Final = 1 << 20
_KEPT: Final = 2


def _calibrate() -> int:
    """What ``getrefcount`` says of an object that only a list and one local name hold."""
    kept = [bytearray()]
    for body in kept:
        return sys.getrefcount(body)
    raise AssertionError


_UNHELD: Final = _calibrate() if sys.implementation.name == "cpython" else -1


class BodyPool:
    """Bodies of large frames: at most two are kept for another use.

    A body is a ``bytearray`` that belongs to the receiver as soon as it is complete; the pool only
    remembers it. Not thread-safe: its owner is the one reader of one channel.
    """

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def take(self, size: int) -> bytearray | None:
        """A used body of exactly ``size`` bytes, or None."""
        for body in self._kept:
            if sys.getrefcount(body) == _UNHELD and size <= len(body) <= 2 * size:
                del body[size:]
                return body
        return None

    def keep(self, body: bytearray) -> None:
        """Remember a completed body, in case its receiver drops it before the next one comes."""
        if any(body is known for known in self._kept):
            return
        self._kept.append(body)
        del self._kept[:-_KEPT]

    def release(self) -> int:
        """Give back to the system every body that nobody holds; returns their bytes."""
        freed = 0
        held = []
        for body in self._kept:
            if sys.getrefcount(body) == _UNHELD:
                freed += len(body)
            else:
                held.append(body)
        self._kept = held
        return freed


def first_step(size: int) -> int:
    """Where a body of ``size`` bytes starts, so that doublings reach ``size`` with little to cut off."""
    if size <= FIRST_STEP:
        return size
    doublings = (size // FIRST_STEP).bit_length()
    return -(-size >> doublings)
