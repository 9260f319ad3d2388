"""What the statements of several nouns share: numbers in parts, rows that are held, and what changed."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from parcs.hub.store import schema

T = TypeVar("T")

_t: Final = schema.tasks
ROWS: Final = 500
"""How many rows one statement is about; databases limit how many values a statement may have."""


_INSERTED: Final = 10_000
"""How many rows are inserted at once: a statement that takes seconds is taken for stuck."""


class Change(NamedTuple):
    """A task has come to another state."""

    task: int
    state: str


def insert(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    """Insert rows by the driver itself: of a hundred thousand, most of the time would be SQLAlchemy's."""
    quoted = connection.dialect.identifier_preparer.quote
    place = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names, places = ", ".join(map(quoted, columns)), ", ".join([place] * len(columns))
    statement = f"INSERT INTO {quoted(table.name)} ({names}) VALUES ({places})"  # noqa: S608  # our own names
    for i in range(0, len(rows), _INSERTED):
        connection.exec_driver_sql(statement, rows[i : i + _INSERTED])


def insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row, or leave one with the same key as it is; waits for whoever else just inserts one.

    Returns:
        Whether it is new. The row that comes back says so: SQLAlchemy's count of an INSERT does not on PostgreSQL.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    key = next(iter(table.primary_key.columns))
    statement = insert(table).values(row).on_conflict_do_nothing().returning(key)
    return connection.execute(statement).first() is not None


class _Listed(sa.types.TypeDecorator[Sequence[Any]]):
    """Several values that travel as one: an array, or for SQLite a JSON text."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return postgresql.ARRAY(self.item) if dialect.name == "postgresql" else sa.Text()

    def process_bind_param(self, value: Sequence[Any] | None, dialect: sa.Dialect) -> Any:
        return value if dialect.name == "postgresql" else json.dumps(value)


class _Among(FunctionElement[bool]):
    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        return self  # `… = 1` around it, as for other functions, would hide from SQLite that an index fits


@compiles(_Among, "postgresql")
def _among_array(element: _Among, compiler: SQLCompiler, **words: Any) -> str:
    column, values = (compiler.process(clause, **words) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_Among, "sqlite")
def _among_json(element: _Among, compiler: SQLCompiler, **words: Any) -> str:
    column, values = (compiler.process(clause, **words) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  # names and places


def among(column: sa.Column[Any], parameter: str) -> sa.ColumnElement[bool]:
    """Whether a column is one of the values that a parameter has, however many.

    For statements that are often run: with ``IN`` each number of values makes another statement, for SQLAlchemy to
    write and for the database to plan.
    """
    return _Among(column, sa.bindparam(parameter, type_=_Listed(column.type)))


def locked(connection: sa.Connection, question: sa.Select[Any], *, skip: bool = False) -> sa.Select[Any]:
    """Hold the rows until the transaction's end, in an order; with one writer only, that is so already."""
    return question if connection.dialect.name != "postgresql" else _for_update(question, skip)


@functools.lru_cache(32)
def _for_update(question: sa.Select[Any], skip: bool) -> sa.Select[Any]:
    if not skip:
        question = question.order_by(_t.c.id)
    return question.with_for_update(of=_t, skip_locked=skip)


def parts(ids: Sequence[T]) -> list[list[T]]:
    """Numbers or names in parts of a statement's size, each once."""
    listed = list(dict.fromkeys(ids))
    return [listed[i : i + ROWS] for i in range(0, len(listed), ROWS)]


def needs_ended(number: int, state: str) -> str:
    """Why a task that waited for another is cancelled."""
    return f"it needs task {number}, which ended as {state}"
