"""Statements about what attempts wrote: streams in pieces, and kept files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.store import schema


def last_attempt(connection: sa.Connection, number: int) -> int:
    """The number of the latest attempt; 0 if there is none."""
    table = schema.attempts
    return int(connection.scalar(sa.select(sa.func.max(table.c.number)).where(table.c.task == number)) or 0)


def read(connection: sa.Connection, number: int, attempt: int, name: str, start: int, most: int) -> bytes:
    """A part of what an attempt wrote."""
    table = schema.outputs
    question = (
        sa.select(table.c.position, table.c.data)
        .where(
            table.c.task == number, table.c.attempt == attempt, table.c.name == name,
            table.c.position + table.c.size > start, table.c.position < start + most,
        )
        .order_by(table.c.position)
    )  # fmt: skip
    parts = [bytes(row.data)[max(0, start - row.position) :] for row in connection.execute(question)]
    return b"".join(parts)[:most]


def names(connection: sa.Connection, number: int, attempt: int) -> list[str]:
    """What an attempt wrote: streams, and files as ``file/PATH``."""
    table = schema.outputs
    question = sa.select(table.c.name).where(table.c.task == number, table.c.attempt == attempt).distinct()
    return sorted(connection.scalars(question))


def pieces(result: wire.Result) -> list[dict[str, Any]]:
    """Rows for all that a result brings."""
    key = (result.task, result.attempt)
    found = [
        piece(key, name, at, data) for name, (at, data) in result.streams.items() if name in contract.STREAMS
    ]
    return found + [piece(key, f"file/{path}", 0, data) for path, data in result.files.items()]


def piece(key: tuple[int, int], name: str, position: int, data: bytes) -> dict[str, Any]:
    """A row for a piece of one stream."""
    return {
        "task": key[0],
        "attempt": key[1],
        "name": name,
        "position": position,
        "data": data,
        "size": len(data),
    }


def put(connection: sa.Connection, pieces: Sequence[Mapping[str, Any]]) -> None:
    """Keep pieces of output. What is there from a piece's position on is replaced: it came twice."""
    table = schema.outputs
    remove = sa.delete(table).where(
        table.c.task == sa.bindparam("b_task"), table.c.attempt == sa.bindparam("b_attempt"),
        table.c.name == sa.bindparam("b_name"), table.c.position >= sa.bindparam("b_position"),
    )  # fmt: skip
    connection.execute(
        remove,
        [{f"b_{name}": piece[name] for name in ("task", "attempt", "name", "position")} for piece in pieces],
    )
    connection.execute(sa.insert(table), [dict(piece) for piece in pieces])
