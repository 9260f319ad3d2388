"""A hub's parts, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Final

from parcs import errors
from parcs.hub.services.access import Access
from parcs.hub.services.changes import Changes, News
from parcs.hub.services.cluster import Clusters
from parcs.hub.services.dispatch import Dispatch
from parcs.hub.services.hubs import Hubs
from parcs.hub.services.jobs import Jobs
from parcs.hub.services.liveness import Liveness
from parcs.hub.services.pulse import Pulse
from parcs.hub.services.rates import Rates
from parcs.hub.services.upkeep import Upkeep
from parcs.hub.services.work import Work
from parcs.hub.settings import HubSettings
from parcs.hub.store import migrate, people
from parcs.hub.store.clock import Clock
from parcs.hub.store.database import Database

logger = logging.getLogger("parcs.hub")


_LEAVE_S: Final = 2.0
_LOGINS_PER_S: Final = 0.5
_LOGINS_AT_ONCE: Final = 10
"""Of one name, from one address: whoever guesses passwords gets nowhere."""


class Hub:
    """Everything that a hub's requests and loops share."""

    def __init__(self, settings: HubSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock = clock or Clock()
        self.database = Database(settings.database)
        migrate.upgrade(self.database.engine)
        self.database.run_now(clock.follow)
        self.changes = Changes()
        self.access = Access(self.database, clock)
        self.dispatch = Dispatch(self.database, self.changes, settings, clock)
        self.liveness = Liveness(self.database, self.dispatch, self.changes, settings, clock)
        self.work = Work(self.database, self.dispatch, self.changes, settings, clock)
        self.rates = Rates(settings.requests_per_s)
        self.logins = Rates(_LOGINS_PER_S, _LOGINS_AT_ONCE)
        self.upkeep = Upkeep(self.database, self.liveness, self.access, settings, clock)
        self.hubs = Hubs(self.database, self.changes, settings, clock, self._on_heard, self.liveness.doubt)
        self.cluster = Clusters(settings.docker, settings.registry, clock)
        self.jobs = Jobs(self.cluster)
        self.pulse = Pulse(self.database, self.changes, clock)
        self.closing = asyncio.Event()
        """It is about to end: answers that would go on for ever end too."""
        self._hearing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it, the hub's loops run."""
        loops = (
            self.dispatch.serve(), self.liveness.keep_beats(), self.upkeep.serve(), self.hubs.serve(),
            self.database.serve(), self.pulse.serve(),
        )  # fmt: skip
        running = [asyncio.create_task(loop) for loop in loops]
        for task in running:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, *self._hearing, return_exceptions=True)
            with contextlib.suppress(errors.DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self.hubs.leave()
            self.cluster.close()
            await asyncio.to_thread(self.jobs.close)
            await asyncio.to_thread(self.database.close)

    def _on_heard(self, news: Sequence[News]) -> None:
        hearing = asyncio.create_task(self.liveness.on_heard(news))
        self._hearing.add(hearing)
        hearing.add_done_callback(self._hearing.discard)

    async def audit(self, user: str, action: str, subject: str, address: str) -> None:
        """Write down who did what."""
        now = self.clock()
        await self.database.write(lambda c: people.write_audit(c, now, user, action, subject[:500], address))


def _say_why(task: asyncio.Task[None]) -> None:
    """A loop runs as long as its hub. One that ends before has met a bug: the hub ends too, to be started anew."""
    if not task.cancelled() and (failure := task.exception()) is not None:
        logger.critical("the hub ends: one of its loops failed", exc_info=failure)
        os.kill(os.getpid(), signal.SIGTERM)
