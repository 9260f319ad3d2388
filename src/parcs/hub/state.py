"""A hub's parts, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable

from parcs.hub.services.access import Access
from parcs.hub.services.changes import Changes
from parcs.hub.services.dispatch import Dispatch
from parcs.hub.services.rates import Rates
from parcs.hub.services.upkeep import Upkeep
from parcs.hub.services.work import Work
from parcs.hub.settings import HubSettings
from parcs.hub.store import migrate, people
from parcs.hub.store.database import Database

logger = logging.getLogger("parcs.hub")


class Hub:
    """Everything that a hub's requests and loops share.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, settings: HubSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.clock = settings, clock
        self.database = Database(settings.database)
        migrate.upgrade(self.database.engine)
        self.changes = Changes()
        self.access = Access(self.database, clock)
        self.dispatch = Dispatch(self.database, self.changes, settings, clock)
        self.work = Work(self.database, self.dispatch, self.changes, settings, clock)
        self.rates = Rates(settings.requests_per_s)
        self.upkeep = Upkeep(self.database, self.dispatch, self.access, settings, clock)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it, the hub's loops run."""
        loops = (self.dispatch.serve(), self.dispatch.keep_beats(), self.upkeep.serve())
        running = [asyncio.create_task(loop) for loop in loops]
        for task in running:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.to_thread(self.database.close)

    async def audit(self, user: str, action: str, subject: str, address: str) -> None:
        """Write down who did what."""
        now = self.clock()
        await self.database.write(lambda c: people.write_audit(c, now, user, action, subject[:500], address))


def _say_why(task: asyncio.Task[None]) -> None:
    """A loop runs as long as its hub. One that ends before has met a bug: the hub ends too, to be started anew."""
    if not task.cancelled() and (failure := task.exception()) is not None:
        logger.critical("the hub ends: one of its loops failed", exc_info=failure)
        os.kill(os.getpid(), signal.SIGTERM)
