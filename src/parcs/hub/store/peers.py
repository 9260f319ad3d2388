"""Words from hub to hub, by PostgreSQL's LISTEN and NOTIFY.

They are hints: nothing is lost with one, because every hub looks at the database each second whatever it hears.
So they go by connections of their own, outside all transactions. A NOTIFY within one would have all of a
database's commits wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg

from parcs.hub.store.servers import Servers, sever

logger = logging.getLogger("parcs.hub")

LONGEST: Final = 7900
"""Bytes of one; PostgreSQL takes less than 8,000."""
_CHANNEL: Final = "parcs"
_QUIET_S: Final = 5.0
_ANSWER_S: Final = 3.0
_AGAIN_S: Final = 1.0


class Peers:
    """This hub's ear and mouth.

    Args:
        heard: gets every text, also this hub's own.
    """

    def __init__(self, servers: Servers, heard: Callable[[str], None]) -> None:
        self._servers, self._heard = servers, heard
        self._mouth: psycopg.AsyncConnection[Any] | None = None

    async def listen(self) -> None:
        """Hear, for ever."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, TimeoutError) as error:
                logger.debug("news from other hubs do not come: %s", error)
            await asyncio.sleep(_AGAIN_S)

    async def _listen(self) -> None:
        async with _kept(await self._servers.connect_async()) as connection:
            await _within(connection, connection.execute(f"LISTEN {_CHANNEL}"))
            while True:
                async for said in connection.notifies(timeout=_QUIET_S):
                    self._heard(said.payload)
                await _within(connection, connection.execute("SELECT 1"))  # is it still there?

    async def tell(self, texts: Sequence[str]) -> None:
        """Say something; whether anybody hears it is not known."""
        try:
            if self._mouth is None:
                self._mouth = await self._servers.connect_async()
            for text in texts:
                await _within(self._mouth, self._mouth.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, text)))
        except (psycopg.Error, TimeoutError) as error:
            logger.debug("news for other hubs do not go: %s", error)
            await self.close()

    async def close(self) -> None:
        """Let the connection go."""
        if self._mouth is not None:
            sever(self._mouth)
            await self._mouth.close()
            self._mouth = None


@contextlib.asynccontextmanager
async def _kept(connection: psycopg.AsyncConnection[Any]):  # type: ignore[no-untyped-def]
    try:
        yield connection
    finally:
        sever(connection)  # else its end would wait for a server that stands still
        await connection.close()


async def _within(connection: psycopg.AsyncConnection[Any], work: Any) -> None:
    """Wait for an answer, but not for long.

    Raises:
        TimeoutError: none came.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=_ANSWER_S)
    if not done:
        sever(connection)
        await asyncio.wait([task])
        task.exception()
        raise TimeoutError("the database does not answer")
    task.result()
