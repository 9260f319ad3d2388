"""What pages that stay open are told: what has changed, gathered, and how the hub is, every few seconds.

It is made once, however many pages there are. Figures are kept for a while, so that a page that is just opened has
its charts; a hub that is started anew begins with none.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.services.changes import Changes, News
from parcs.hub.store import executors, tasks
from parcs.hub.store.database import Database
from parcs.model.task import FINAL, TaskState

logger = logging.getLogger("parcs.hub")

EVERY_S: Final = 2.0
_KEPT: Final = 450
"""Samples: a quarter of an hour."""
_LOADS: Final = 90
_LOADS_EACH: Final = 5
"""Executors' loads are kept for as long, but only with every fifth sample."""
_LOADS_OF: Final = 500
"""Executors, at most."""
_GATHER_S: Final = 0.2
_NAMED: Final = 200
"""Of more changes than that, a page is told only how many there are."""
_SHARE: Final = 0.05
"""Of the time, at most, goes to counting: of many millions of tasks it takes long."""
_BEHIND: Final = 100
"""Events that a page may be behind; then it is told that it missed some."""


class Pulse:
    """Samples and gathered news.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, changes: Changes, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._samples: deque[contract.Sample] = deque(maxlen=_KEPT)
        self._loads: dict[str, deque[tuple[float, float, int, int]]] = {}
        self._pages: set[asyncio.Queue[bytes]] = set()
        self._gathered: dict[tuple[str, int | str], str] = {}
        self._has_news = asyncio.Event()
        self._ended: Counter[str] = Counter()
        changes.listeners.append(self._on_news)

    def history(self) -> contract.History:
        """The samples of the last quarter of an hour."""
        return contract.History(EVERY_S, list(self._samples))

    def loads(self) -> dict[str, contract.Load]:
        """How busy each executor was in the last quarter of an hour."""
        return {
            name: contract.Load(*map(list, zip(*known, strict=True))) for name, known in self._loads.items()
        }

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[asyncio.Queue[bytes]]:
        """Events for one page, as they go over the wire."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_BEHIND)
        self._pages.add(queue)
        try:
            yield queue
        finally:
            self._pages.discard(queue)

    async def serve(self) -> None:
        """Gather, and sample, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather())
            group.create_task(self._sample())

    def _on_news(self, news: Sequence[News]) -> None:
        for each in news:
            if each.kind == "task" and each.state in FINAL:
                self._ended[each.state] += 1
            self._gathered[(each.kind, each.id)] = each.state
        self._has_news.set()

    async def _gather(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            gathered, self._gathered = self._gathered, {}
            of_tasks = [number for kind, number in gathered if kind == "task"]
            of_executors = [name for kind, name in gathered if kind == "executor"]
            self._tell(
                "changes",
                {
                    "tasks": of_tasks[:_NAMED], "executors": of_executors[:_NAMED],
                    "unnamed": max(0, len(of_tasks) - _NAMED) + max(0, len(of_executors) - _NAMED),
                },
            )  # fmt: skip
            await asyncio.sleep(_GATHER_S)

    async def _sample(self) -> None:
        last = self._clock()
        for number in itertools.count():
            begun = time.monotonic()
            most = _LOADS_OF if number % _LOADS_EACH == 0 else 0
            try:
                counts, totals, loads = await self._database.glance(partial(_figures, most=most))
            except errors.DatabaseUnavailableError as error:
                logger.warning("%s", error)
            else:
                now = self._clock()
                ended, self._ended = self._ended, Counter()
                passed = max(now - last, 0.1)
                last = now
                succeeded = ended.pop(TaskState.SUCCEEDED, 0)
                cancelled = ended.pop(TaskState.CANCELLED, 0)
                sample = contract.Sample(
                    now, counts, succeeded / passed, ended.total() / passed, cancelled / passed, *totals
                )
                self._samples.append(sample)
                self._tell("sample", sample)
                if most:
                    self._keep_loads(now, loads)
            took = time.monotonic() - begun
            await asyncio.sleep(max(EVERY_S - took, took / _SHARE - took))

    def _keep_loads(self, now: float, found: Sequence[executors.Load]) -> None:
        before = self._loads
        self._loads = {name: before.get(name, deque(maxlen=_LOADS)) for name, *_ in found}
        for name, cpu_percent, memory, busy in found:
            self._loads[name].append((now, cpu_percent, memory, busy))

    def _tell(self, kind: str, value: Any) -> None:
        if not self._pages:
            return
        text = b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(value))
        for queue in self._pages:
            if queue.full():  # it is told everything anew
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(b"event: missed\ndata: {}\n\n")
            else:
                queue.put_nowait(text)


def _figures(
    connection: sa.Connection, most: int
) -> tuple[dict[str, int], tuple[int, int, int], list[executors.Load]]:
    """Counts, totals, and the loads of at most so many executors."""
    loads = executors.loads(connection, most) if most else []
    return tasks.counts(connection, contract.Query()), executors.totals(connection), loads
