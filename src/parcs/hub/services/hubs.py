"""This hub among the others of its database: who is there, what time it is, and news from one to the other."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.services.changes import Changes, News
from parcs.hub.settings import HubSettings
from parcs.hub.store import hubs
from parcs.hub.store.clock import Clock
from parcs.hub.store.database import Database
from parcs.version import VERSION

logger = logging.getLogger("parcs.hub")

_BEAT_S: Final = 1.0
_GONE_S: Final = 5.0
"""A hub that was silent for so long is not told anything."""
_GATHER_S: Final = 0.02
_TOGETHER: Final = 100
_MOST: Final = 10


class Hubs:
    """This hub, and the others.

    Args:
        heard: is told what has happened at another hub.
        jumped: is told that the clock was set.
    """

    def __init__(
        self,
        database: Database,
        changes: Changes,
        settings: HubSettings,
        clock: Clock,
        heard: Callable[[Sequence[News]], None],
        jumped: Callable[[], None],
    ) -> None:
        self._database, self._changes, self._clock = database, changes, clock
        self._heard, self._jumped = heard, jumped
        self.id = secrets.token_hex(4)
        self._me = contract.HubSeen(self.id, settings.own_address, VERSION, clock(), clock())
        self._others = 0
        self._news: dict[tuple[str, int | str], str] = {}
        self._has_news = asyncio.Event()
        changes.outlet = self.tell

    def tell(self, news: Iterable[News]) -> None:
        """Something has happened here."""
        if self._others:
            self._news |= {(each.kind, each.id): each.state for each in news}
            self._has_news.set()

    async def serve(self) -> None:
        """Say that this hub is there, hear and tell, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            if self._database.servers is not None:
                from parcs.hub.store.peers import Peers

                peers = Peers(self._database.servers, self._on_text)
                group.create_task(peers.listen())
                group.create_task(self._tell(peers))

    async def list_all(self) -> list[contract.HubSeen]:
        """Every hub of this database that was there within a day."""
        if self._database.is_sqlite:
            return [contract.HubSeen(**{**vars(self._me), "last_seen": self._clock()})]
        return await self._database.read(hubs.list_all)

    async def leave(self) -> None:
        """This hub ends."""
        if not self._database.is_sqlite:
            await self._database.write(lambda c: hubs.leave(c, self.id))

    async def _beat(self) -> None:
        while True:
            known = self._clock.jumped

            def work(connection: sa.Connection) -> list[contract.HubSeen]:
                self._clock.follow(connection)
                if self._database.is_sqlite:  # it has one hub
                    return []
                now = self._clock()
                hubs.beat(connection, contract.HubSeen(**{**vars(self._me), "last_seen": now}))
                return [h for h in hubs.list_all(connection) if h.last_seen > now - _GONE_S]

            do = self._database.glance if self._database.is_sqlite else self._database.write
            try:
                self._others = len(await do(work)) - 1
            except errors.DatabaseUnavailableError as error:
                logger.warning("%s", error)
            if self._clock.jumped != known:
                logger.warning("the clock was set: no executor is taken for dead for a while")
                self._jumped()
            await asyncio.sleep(_BEAT_S)

    async def _tell(self, peers) -> None:  # type: ignore[no-untyped-def]  # imported where there is one
        try:
            while True:
                await self._has_news.wait()
                self._has_news.clear()
                news = [[kind, number, state] for (kind, number), state in self._news.items()]
                self._news.clear()
                parts = [news[i : i + _TOGETHER] for i in range(0, len(news), _TOGETHER)]
                # Of very many the first have to do: whoever waits for one of the others looks each second.
                await peers.tell([json.dumps([self.id, part]) for part in parts[:_MOST]])
                await asyncio.sleep(_GATHER_S)
        finally:
            await peers.close()

    def _on_text(self, text: str) -> None:
        try:
            sender, news = json.loads(text)
            found = [News(kind, number, state) for kind, number, state in news]
        except (ValueError, TypeError):
            logger.warning("somebody says on the hubs' channel what no hub says: %.100r", text)
            return
        if sender != self.id:
            self._changes.pass_on(found)
            self._heard(found)
