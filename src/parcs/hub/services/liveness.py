"""Who lives: signs of life, what was decided about executors, and those that went silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from parcs import errors
from parcs.hub.services.changes import Changes, News
from parcs.hub.services.dispatch import NET_S, Dispatch
from parcs.hub.settings import HubSettings
from parcs.hub.store import executors, leases, people
from parcs.hub.store.database import Database
from parcs.hub.store.executors import Beat
from parcs.hub.store.statements import Change

logger = logging.getLogger("parcs.hub")

_BEAT_S: Final = 0.5
_LATE_S: Final = 3.0
"""A look for silent executors, due each second, that comes so late: something stood still."""


class Liveness:
    """The executors that are connected here, as the database has them, and those of every hub that are not."""

    def __init__(
        self,
        database: Database,
        dispatch: Dispatch,
        changes: Changes,
        settings: HubSettings,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._dispatch, self._changes = database, dispatch, changes
        self._settings, self._clock = settings, clock
        self._steady_since = self._looked = time.monotonic()

    async def keep_beats(self) -> None:
        """Write signs of life together, for ever; and see what other hubs decided about our executors."""
        last_look = 0.0
        while True:
            await asyncio.sleep(_BEAT_S)
            beats, self._dispatch.beats = self._dispatch.beats, {}
            try:
                if beats:
                    await self._keep(list(beats.values()))
                if time.monotonic() - last_look > NET_S:
                    last_look = time.monotonic()
                    await self._dispatch.push_cancels()
                    await self.look_at_states()
            except errors.DatabaseUnavailableError as error:
                logger.warning("%s", error)
                self._dispatch.beats = {**beats, **self._dispatch.beats}

    async def _keep(self, beats: Sequence[Beat]) -> None:
        now = self._clock()
        until = now + self._settings.lease_s
        await self._database.write(lambda c: executors.beat(c, beats, now, until))

    async def look_at_states(self) -> None:
        """What has been decided about this hub's executors: drained, disabled, gone, shut out."""
        known = self._dispatch.sessions()  # whoever comes meanwhile is in no answer yet
        if not known:
            return
        now = self._clock()
        numbers = {s.token for s in known}

        def work(connection: sa.Connection) -> tuple[dict[str, tuple[str, int]], set[int]]:
            return executors.states(connection), {
                n for n in numbers if not people.is_valid_token(connection, n, now)
            }

        states, revoked = await self._database.glance(work)
        for session in known:
            state, number = states.get(session.id, ("gone", 0))
            if state == "gone" or session.token in revoked or number > session.number:
                session.close()  # it has to show itself anew; perhaps an older greeting of its was answered late
            elif session.state not in (state, "gone"):
                session.state = state
                self._dispatch.note(session)
                self._dispatch.wake()

    def doubt(self) -> None:
        """Leases say nothing for a while: who is alive may have been unable to renew them."""
        self._steady_since = time.monotonic()

    async def reap(self) -> None:
        """Executors that went silent: their tasks are for others.

        An executor is silent too while the database is away, or this hub stands still. So nobody is taken for
        dead who could not have renewed its lease: the looks of the last lease must all have been on time.
        """
        now = self._clock()
        if time.monotonic() - self._looked > _LATE_S:
            self.doubt()
        is_steady = time.monotonic() - self._steady_since > self._settings.lease_s

        def work(connection: sa.Connection) -> tuple[list[str], list[Change]]:
            gone = executors.expired(connection, now, self._settings.lease_s) if is_steady else []
            changed: list[Change] = []
            for executor in gone:
                changed += leases.lose(connection, executor, None, now)
            return gone, changed

        gone, changed = await self._database.write(work)
        self._looked = time.monotonic()
        for executor in gone:
            logger.warning("executor %s went silent; its tasks are queued again", executor)
        self._dispatch.publish(changed)
        self._changes.publish([News("executor", executor, "gone") for executor in gone])

    async def on_heard(self, news: Sequence[News]) -> None:
        """What has happened at another hub, and matters to the executors of this one."""
        if any(each.state == "queued" for each in news):
            self._dispatch.wake()
        with contextlib.suppress(errors.DatabaseUnavailableError):  # each second it looks anyway
            if any(each.state == "cancelling" for each in news):
                await self._dispatch.push_cancels()
            ours = {session.id for session in self._dispatch.sessions()}
            if any(each.kind == "executor" and each.id in ours for each in news):
                await self.look_at_states()
