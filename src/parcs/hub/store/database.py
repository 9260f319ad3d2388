"""Transactions: functions of a connection, run whole in a thread, or not at all.

On SQLite one thread writes. What has been asked of it meanwhile goes into one commit, each function in a
savepoint of its own, so that one that fails takes no other with it. Nobody has an answer before that commit. On
PostgreSQL each function has a connection and a commit of its own.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from parcs import errors

logger = logging.getLogger("parcs.hub")

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_READERS: Final = 4
_CONNECTIONS: Final = 12
_TOGETHER: Final = 512
_BUSY_S: Final = 30.0
_TRIES: Final = 4
_PAUSE_S: Final = 0.2


class Database:
    """A hub's database.

    Args:
        url: as SQLAlchemy has it: ``sqlite:///file`` or ``postgresql+psycopg://user@host/name``.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        readers = _READERS if self.is_sqlite else _CONNECTIONS
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="parcs-db")
        self._writer = _Writer(self.engine) if self.is_sqlite else None

    async def read(self, work: Work[T]) -> T:
        """Run what changes nothing.

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

    def close(self) -> None:
        """Finish what was asked for, and let the database go."""
        if self._writer is not None:
            self._writer.close()
        self._readers.shutdown()
        self.engine.dispose()

    def _run(self, work: Work[T], is_writing: bool = False) -> T:
        for left in reversed(range(_TRIES)):
            try:
                options = self.engine.connect().execution_options(is_writing=is_writing)
                with options as connection, connection.begin():
                    return work(connection)
            except sa.exc.OperationalError as error:
                if not left or not _is_conflict(error):
                    raise translated(error) from error
                time.sleep(_PAUSE_S / (left + 1))
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
                meaning = translated(error)
                if meaning is error:
                    raise
                raise meaning from error
        raise AssertionError("unreachable")


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
    first = str(getattr(error, "orig", None) or error).splitlines()[0]
    return errors.DatabaseUnavailableError(f"the hub's database does not do it: {first}")


def _is_conflict(error: sa.exc.OperationalError) -> bool:
    """Two transactions were in each other's way: PostgreSQL's deadlock and serialization failure, SQLite's busy."""
    return getattr(error.orig, "sqlstate", "") in ("40P01", "40001") or "database is locked" in str(
        error.orig
    )


def _sqlite(url: sa.URL) -> sa.Engine:
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


def _postgresql(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c lock_timeout=10000 -c statement_timeout=60000"},
    )
