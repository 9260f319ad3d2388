"""A PostgreSQL of several servers: which of them takes writes, and an end for what is stuck on another.

The hosts of the DSN are tried one after another, the one that was good last first. A server that was cut off from
its standby goes on taking connections, and its commits wait; a machine that died, or stands still, does not even
say no. Nothing in PostgreSQL's own client ends a wait for an answer, so `Watch` does: it shuts the socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import conninfo

PATIENCE_S: Final = 8.0
"""The longest that one statement, or a commit, may take."""
_POOL: Final = 12
_SESSION: Final = {
    "connect_timeout": "2",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "3000",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "application_name": "parcs-hub",
    "options": (
        f"-c lock_timeout=5000 -c statement_timeout={int(PATIENCE_S * 1000)} "
        # The server lets go of what a hub holds that stands still, or whose machine is gone.
        "-c idle_in_transaction_session_timeout=10000 "
        "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=5000"
    ),
}


class Connection(psycopg.Connection[Any]):
    """A connection that keeps what the server warned of, and how often the server had changed when it was made."""

    warning = ""
    generation = 0

    def note(self, said: psycopg.errors.Diagnostic) -> None:
        """The server has sent a notice."""
        if said.severity_nonlocalized == "WARNING":
            self.warning = said.message_primary or "a warning without words"


class Servers:
    """The servers of a DSN, with one host or several.

    Args:
        dsn: as libpq has it: ``postgresql://user@host1,host2/name``, or ``host=… dbname=…``.
    """

    def __init__(self, dsn: str) -> None:
        given = conninfo.conninfo_to_dict(dsn)
        hosts = str(given.pop("host", "") or "").split(",")
        ports = str(given.pop("port", "") or "").split(",")
        self._hosts = [
            {
                name: value
                for name, value in (("host", host), ("port", ports[i] if len(ports) > 1 else ports[0]))
                if value
            }
            for i, host in enumerate(hosts)
        ]
        self._session: dict[str, Any] = {**_SESSION, **given}
        self._first = 0
        self.generation = 0
        """Connections of an earlier one are to be used no more."""

    @property
    def are_several(self) -> bool:
        """Whether there is more than one: then one may take another's place."""
        return len(self._hosts) > 1

    def connect(self) -> Connection:
        """A connection to a server that takes writes.

        Raises:
            OperationalError: psycopg's; none of them does.
        """
        generation = self.generation
        for number, words in self._in_order():
            try:
                connection = Connection.connect(**words)
            except psycopg.OperationalError as error:
                last = error
                continue
            connection.add_notice_handler(connection.note)
            connection.generation, self._first = generation, number
            return connection
        raise last

    async def connect_async(self) -> psycopg.AsyncConnection[Any]:
        """The same, for asyncio; every statement is its own transaction.

        Raises:
            OperationalError: psycopg's; none of them takes writes.
        """
        for _, words in self._in_order():
            try:
                return await psycopg.AsyncConnection.connect(autocommit=True, **words)
            except psycopg.OperationalError as error:
                last = error
        raise last

    def avoid(self, connection: Connection) -> None:
        """Its server has failed: connections to it are of no use to anybody, and another server is asked first."""
        if connection.generation == self.generation:
            self.generation += 1
            self._first = (self._first + 1) % len(self._hosts)

    def _in_order(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(len(self._hosts)):
            number = (self._first + i) % len(self._hosts)
            yield number, {**self._session, **self._hosts[number]}


def sever(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """End a connection under whoever waits for it: they have an error at once."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as sock,
    ):
        sock.shutdown(socket.SHUT_RDWR)


class Watch:
    """Who waits for a server, and since when; ends what takes too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Connection, float] = {}

    def begin(self, connection: Connection) -> None:
        """A wait begins."""
        with self._lock:
            self._waiting[connection] = time.monotonic()

    def end(self, connection: Connection) -> None:
        """It is over."""
        with self._lock:
            self._waiting.pop(connection, None)

    def look(self) -> int:
        """End every wait that is too long; gives how many."""
        bound = time.monotonic() - PATIENCE_S - 1
        with self._lock:
            stuck = [connection for connection, since in self._waiting.items() if since < bound]
            for connection in stuck:
                del self._waiting[connection]
                sever(connection)  # in the lock: nobody closes it meanwhile, and its number is still its own
        return len(stuck)


def engine(servers: Servers, watch: Watch) -> sa.Engine:
    """SQLAlchemy's engine over them. A connection that has died is found out when it is used."""
    made = sa.create_engine(
        "postgresql+psycopg://", creator=servers.connect, pool_size=_POOL, max_overflow=0, pool_timeout=10
    )

    @sa.event.listens_for(made, "before_cursor_execute")
    def before(connection: sa.Connection, *_: Any) -> None:
        watch.begin(raw(connection))

    @sa.event.listens_for(made, "after_cursor_execute")
    def after(connection: sa.Connection, *_: Any) -> None:
        watch.end(raw(connection))

    @sa.event.listens_for(made, "checkout")
    def check(connection: Connection, *_: Any) -> None:
        if connection.generation != servers.generation:
            raise sa.exc.InvalidatePoolError

    return made


def raw(connection: sa.Connection) -> Connection:
    """The connection itself, without SQLAlchemy."""
    found: Connection = connection.connection.dbapi_connection  # type: ignore[assignment]  # `Servers` made it
    return found
