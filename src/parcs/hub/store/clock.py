"""What time it is, for all hubs alike: the database's clock, followed with this machine's steady one.

A lease is a time in a row that one hub writes and another reads. With the clocks of their machines, one that is
wrong by a minute would take every executor of the other for dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

_JUMP_S: Final = 1.0
_SLOW_S: Final = 1.0
_NOW: Final = sa.text("SELECT extract(epoch FROM clock_timestamp())")


class Clock:
    """Seconds since 1970.

    Args:
        steady: seconds since whenever, never set.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._ahead = time.time() - steady()
        self.jumped = steady()
        """When it jumped last (another database has another clock), as ``steady`` has it."""

    def __call__(self) -> float:
        return self._steady() + self._ahead

    def follow(self, connection: sa.Connection) -> None:
        """Ask the database; on SQLite that is this machine."""
        begun = self._steady()
        told = connection.scalar(_NOW) if connection.dialect.name == "postgresql" else time.time()
        self.set(float(told), begun)

    def set(self, told: float, begun: float) -> None:
        """The database's clock said so; it was asked at ``begun``, and it is now that it answered."""
        now = self._steady()
        if now - begun > _SLOW_S:
            return  # it may have been so at any time since: the next answer is better
        ahead = told - (begun + now) / 2
        if abs(ahead - self._ahead) > _JUMP_S + (now - begun):
            self.jumped = now
        self._ahead = ahead
