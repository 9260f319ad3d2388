"""News of tasks and executors, for pages and clients that watch. Not kept.

Who comes late asks for the state first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

_MOST: Final = 1000


@dataclass(frozen=True)
class News:
    """Something has changed. ``kind`` is task or executor."""

    kind: str
    id: int | str
    state: str


class Watcher:
    """Somebody's queue of news. Who is too slow misses some, and is told how many."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[News] = asyncio.Queue(_MOST)
        self.missed = 0

    def put(self, news: News) -> None:
        """Add news, if there is room."""
        try:
            self._news.put_nowait(news)
        except asyncio.QueueFull:
            self.missed += 1

    async def get(self) -> News:
        """The next news."""
        return await self._news.get()


class Changes:
    """Hands news to all who watch.

    Attributes:
        outlet: is told as well what has happened here; for other hubs.
        listeners: are told at once; they do not wait.
    """

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self.outlet: Callable[[Sequence[News]], None] = lambda _: None
        self.listeners: list[Callable[[Sequence[News]], None]] = []

    def publish(self, news: Sequence[News]) -> None:
        """Something has happened here: tell everybody."""
        self.outlet(news)
        self.pass_on(news)

    def pass_on(self, news: Sequence[News]) -> None:
        """Something has happened, here or at another hub: tell who watches here."""
        for listener in self.listeners:
            listener(news)
        if self._watchers:
            for each in news:
                for watcher in self._watchers:
                    watcher.put(each)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Watcher]:
        """Watch for a while."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
