"""Warm points: started, and waiting at the engine server to be taken.

A warm point's program runs as far as its first word with its creator, then calls the server with role ``warm``
instead. Taking it is one message, which gives it a name, a creator, and a job. One pool is one module's.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from parcs.engine.server import Session

REFILL_S: Final = 1.0
"""How long after points were taken others are started in their place: not while the first ones set to work."""


class WarmPool:
    """The waiting points of one module, and how many there should be."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.target = self.coming = self.started = 0
        self._waiting: deque[Session] = deque()
        self._asked: list[tuple[int, Future[dict[str, Any]]]] = []

    @property
    def waiting(self) -> int:
        """How many can be taken now."""
        return len(self._waiting)

    @property
    def missing(self) -> int:
        """How many have to be started."""
        return max(self.target - len(self._waiting) - self.coming, 0)

    @property
    def surplus(self) -> int:
        """How many wait without being wanted."""
        return max(len(self._waiting) - self.target, 0)

    def add(self, session: Session) -> None:
        """One has arrived."""
        self.coming = max(self.coming - 1, 0)
        self._waiting.append(session)
        self._answer()

    def take(self) -> Session:
        """The one that has waited longest."""
        return self._waiting.popleft()

    def discard(self, session: Session) -> bool:
        """One has gone; False if it was not waiting."""
        try:
            self._waiting.remove(session)
        except ValueError:
            return False
        return True

    def fail(self, error: Exception) -> None:
        """No more can be started: whoever waits for them is told."""
        self.target = self.waiting
        for _, future in self._asked:
            future.set_exception(error)
        self._asked.clear()

    def when_filled(self) -> Future[dict[str, Any]]:
        """Done as soon as as many wait as there should."""
        future: Future[dict[str, Any]] = Future()
        self._asked.append((self.target, future))
        self._answer()
        return future

    def _answer(self) -> None:
        for entry in list(self._asked):
            target, future = entry
            if self.waiting >= min(target, self.target):
                self._asked.remove(entry)
                future.set_result({"waiting": self.waiting})
