"""Transactions: functions of a connection, run whole in a thread, or not at all.

On SQLite one thread writes. What has been asked of it meanwhile goes into one commit, each function in a
savepoint of its own, so that one that fails takes no other with it. Nobody has an answer before that commit. On
PostgreSQL each function has a connection and a commit of its own.

Where the database has several servers, an isolated primary answers questions as if nothing had happened. So a
read too ends with a commit that the synchronous standby has to confirm: what was read was true then.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from parcs import errors

if TYPE_CHECKING:
    from parcs.hub.store.servers import Connection, Servers, Watch

logger = logging.getLogger("parcs.hub")

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_READERS: Final = 4
_CONNECTIONS: Final = 12
_LOOK_S: Final = 0.5
_CONNECT_S: Final = 5.0
_TOGETHER: Final = 512
_BUSY_S: Final = 30.0
_TRIES: Final = 4
_PAUSE_S: Final = 0.2


class Database:
    """A hub's database.

    Args:
        url: ``sqlite:///file``, or a PostgreSQL's DSN, with several hosts if it has several servers.
    """

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite:")
        self.servers: Servers | None = None
        self._watch: Watch | None = None
        if self.is_sqlite:
            self.engine = _sqlite(url)
        else:
            from parcs.hub.store import servers

            self.servers, self._watch = servers.Servers(url), servers.Watch()
            self.engine = servers.engine(self.servers, self._watch)
        readers = _READERS if self.is_sqlite else _CONNECTIONS
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="parcs-db")
        self._writer = _Writer(self.engine) if self.is_sqlite else None

    async def read(self, work: Work[T]) -> T:
        """Run what changes nothing. What it found was so after this was called.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        is_confirmed = self.servers is not None and self.servers.are_several
        run = functools.partial(self._run, work, end=_confirm if is_confirmed else None)
        return await asyncio.wrap_future(self._readers.submit(run))

    async def glance(self, work: Work[T]) -> T:
        """As `read`, but what it finds may have been so some seconds ago: for what looks again anyway.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        return await asyncio.wrap_future(self._readers.submit(self._run, work))

    async def write(self, work: Work[T]) -> T:
        """Run a transaction; returns when it is committed.

        ``work`` may be run again if another transaction was in the way: it has no effects but on the connection.

        Raises:
            DatabaseUnavailableError: the database does not answer; whether the commit took place may be unknown.
        """
        if self._writer is not None:
            return await asyncio.wrap_future(self._writer.submit(work))
        return await asyncio.wrap_future(self._readers.submit(self._run, work))

    def run_now(self, work: Work[T]) -> T:
        """Run a transaction in this thread: before the hub serves anybody."""
        return self._run(work, is_writing=True)

    async def serve(self) -> None:
        """End what is stuck, for ever."""
        while self._watch is not None:
            await asyncio.sleep(_LOOK_S)
            if stuck := self._watch.look():
                logger.warning("the database did not answer %d questions; another server is asked", stuck)

    def close(self) -> None:
        """Finish what was asked for, and let the database go."""
        if self._writer is not None:
            self._writer.close()
        self._readers.shutdown()
        self.engine.dispose()

    def _run(self, work: Work[T], is_writing: bool = False, end: Work[None] | None = None) -> T:
        until = time.monotonic() + _CONNECT_S
        for left in reversed(range(_TRIES)):
            try:
                with self._connect(until).execution_options(is_writing=is_writing) as connection:
                    if self._watch is None:
                        with connection.begin():
                            return work(connection)
                    return self._watched(connection, self._watch, work, end)
            except sa.exc.OperationalError as error:
                if not left or not _is_conflict(error):
                    raise translated(error) from error
                time.sleep(_PAUSE_S / (left + 1))
            except _NotBegunError as error:
                if not left:
                    raise translated(error.reason) from error
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                meaning = translated(error)
                if meaning is error:
                    raise
                raise meaning from error
        raise AssertionError("unreachable")

    def _connect(self, until: float) -> sa.Connection:
        """A connection; where servers change places there is none for a while."""
        while True:
            try:
                return self.engine.connect()
            except sa.exc.OperationalError:
                if self.is_sqlite or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE_S)

    def _watched(self, connection: sa.Connection, watch: Watch, work: Work[T], end: Work[None] | None) -> T:
        """One transaction on a PostgreSQL.

        Raises:
            _NotBegunError: the connection is broken, and nothing was committed: it can be done again.
            DatabaseUnavailableError: whether it was committed is not known.
        """
        from parcs.hub.store import servers

        transaction = connection.begin()
        raw = servers.raw(connection)
        try:
            try:
                answer = work(connection)
                if end is not None:
                    end(connection)
            except BaseException as error:
                watch.begin(raw)
                with contextlib.suppress(sa.exc.DBAPIError):
                    transaction.rollback()
                if isinstance(error, sa.exc.DBAPIError) and (
                    error.connection_invalidated or _is_standby(error)
                ):
                    self._leave(raw)
                    raise _NotBegunError(error) from error
                raise
            raw.warning = ""
            watch.begin(raw)
            try:
                transaction.commit()
            except sa.exc.DBAPIError as error:
                self._leave(raw)
                raise errors.DatabaseUnavailableError(
                    f"whether the database has taken it is not known: {_first_line(error)}"
                ) from error
        finally:
            watch.end(raw)
        if raw.warning:
            # The wait for the standby was cancelled: PostgreSQL calls it success, and may forget it.
            self._leave(raw)
            raise errors.DatabaseUnavailableError(f"the database did not keep it safely: {raw.warning}")
        return answer

    def _leave(self, raw: Connection) -> None:
        if self.servers is not None:
            self.servers.avoid(raw)


class _NotBegunError(Exception):
    """A transaction that cannot have been committed has failed with its connection."""

    def __init__(self, reason: sa.exc.DBAPIError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _is_standby(error: sa.exc.DBAPIError) -> bool:
    """It takes no writes: it was the primary when the connection was made."""
    return getattr(error.orig, "sqlstate", "") == "25006"


def _confirm(connection: sa.Connection) -> None:
    """Have the commit of a transaction that has read wait for the standby, as one that has written does."""
    connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'parcs', '')")


class _Writer:
    """SQLite's one writer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[tuple[Work[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="parcs-db-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        future: Future[T] = Future()
        self._queue.put((work, future))
        return future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < _TOGETHER and not self._queue.empty():
                batch.append(self._queue.get())
            is_open = None not in batch
            self._commit([item for item in batch if item is not None])

    def _commit(self, batch: list[tuple[Work[Any], Future[Any]]]) -> None:
        # From here on nobody can cancel them; whoever did before is left out.
        batch = [(work, future) for work, future in batch if future.set_running_or_notify_cancel()]
        answers: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._engine.connect().execution_options(is_writing=True) as connection:
                for work, future in batch:
                    answers.append(_one(connection, work, future, is_alone=len(batch) == 1))
                connection.commit()
        except BaseException as error:  # whoever waits is told
            reason = translated(error)
            logger.error("the database took nothing: %s", reason)
            for _, future in batch:
                future.set_exception(reason)
            return
        for future, answer, failure in answers:
            if failure is None:
                future.set_result(answer)
            else:
                future.set_exception(failure)


def _one(
    connection: sa.Connection, work: Work[Any], future: Future[Any], *, is_alone: bool
) -> tuple[Future[Any], Any, BaseException | None]:
    """One function in a savepoint of its own."""
    connection.exec_driver_sql("SAVEPOINT one")
    try:
        answer = work(connection)
    except sa.exc.OperationalError:
        raise  # the disk is full, say: then nothing of this batch is safe
    except BaseException as error:  # it is its asker's
        connection.exec_driver_sql("ROLLBACK TO one")
        connection.exec_driver_sql("RELEASE one")
        return future, None, translated(error)
    connection.exec_driver_sql("RELEASE one")
    return future, answer, None


_UNAVAILABLE: Final = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.InternalError,
    sa.exc.TimeoutError,
)


def translated(error: BaseException) -> BaseException:
    """What a database's error means to others: the one gate for them. A mistake of ours stays what it is."""
    if not isinstance(error, _UNAVAILABLE):
        return error
    return errors.DatabaseUnavailableError(f"the hub's database does not do it: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]


def _is_conflict(error: sa.exc.OperationalError) -> bool:
    """Two transactions were in each other's way: PostgreSQL's deadlock and serialization failure, SQLite's busy."""
    return getattr(error.orig, "sqlstate", "") in ("40P01", "40001") or "database is locked" in str(
        error.orig
    )


def _sqlite(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-32000",
            "mmap_size=268435456",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine
