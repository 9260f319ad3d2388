"""What has to be done again and again: reaping, forgetting. Every hub does all of it.

Each is one idempotent transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa

from parcs import errors
from parcs.hub.services.access import Access
from parcs.hub.services.liveness import Liveness
from parcs.hub.settings import HubSettings
from parcs.hub.store import executors, hubs, people, tasks
from parcs.hub.store.database import Database

logger = logging.getLogger("parcs.hub")

_REAP_S: Final = 1.0
_TOKENS_S: Final = 10.0
_FORGET_S: Final = 60.0
_DAY_S: Final = 86400.0
_AT_ONCE: Final = 2000


class Upkeep:
    """The hub's periodic duties."""

    def __init__(
        self,
        database: Database,
        liveness: Liveness,
        access: Access,
        settings: HubSettings,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._liveness, self._access = database, liveness, access
        self._settings, self._clock = settings, clock

    async def serve(self) -> None:
        """Do them all, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._each(_REAP_S, self._liveness.reap))
            group.create_task(self._each(_TOKENS_S, self._access.keep_use))
            group.create_task(self._each(_FORGET_S, self.forget))

    async def forget(self) -> None:
        """Delete what is kept no longer."""
        now = self._clock()
        before = now - self._settings.keep_days * _DAY_S if self._settings.keep_days else 0.0

        def some(connection: sa.Connection) -> int:
            ids = tasks.expired(connection, before, self._settings.keep_tasks, _AT_ONCE)
            return len(tasks.delete(connection, ids))

        was_any = False
        while await self._database.write(some) == _AT_ONCE:
            was_any = True

        def rest(connection: sa.Connection) -> None:
            people.forget_answers(connection, now - _DAY_S)
            people.forget_tokens(connection, now - _DAY_S)
            executors.forget(connection, now - _DAY_S)
            hubs.forget(connection, now - _DAY_S)
            if was_any:
                tasks.forget_unused(connection, now - _DAY_S)

        await self._database.write(rest)

    async def _each(self, seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await duty()
            except errors.DatabaseUnavailableError as error:
                logger.warning("%s", error)
            await asyncio.sleep(seconds)
