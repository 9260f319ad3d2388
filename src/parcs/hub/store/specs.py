"""Statements about specs and demands: what many tasks have in common is kept once, by its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import sqlalchemy as sa

from parcs.hub.store import schema, statements

_t: Final = schema.tasks


def spec_ids(connection: sa.Connection, specs: Mapping[str, tuple[bytes, str]]) -> dict[str, int]:
    """The numbers of specs, by their digests; those that are new are added.

    Args:
        specs: by digest: body, and digest of the archive.
    """
    table = schema.specs

    def known(digests: list[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for i in range(0, len(digests), statements.ROWS):
            some = digests[i : i + statements.ROWS]
            rows = connection.execute(sa.select(table.c.digest, table.c.id).where(table.c.digest.in_(some)))
            found |= {row.digest: row.id for row in rows}
        return found

    found = known(list(specs))
    if missing := [digest for digest in specs if digest not in found]:
        rows = [{"digest": d, "body": specs[d][0], "archive": specs[d][1]} for d in missing]
        connection.execute(sa.insert(table), rows)
        found |= known(missing)
    return found


def spec_bodies(connection: sa.Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """Specs by their numbers."""
    rows = connection.execute(
        sa.select(schema.specs.c.id, schema.specs.c.body).where(schema.specs.c.id.in_(list(ids)))
    )
    return {row.id: bytes(row.body) for row in rows}


def demand_id(connection: sa.Connection, body: str) -> int:
    """The demand with this content, added if it is new."""
    table = schema.demands
    question = sa.select(table.c.id).where(table.c.body == body)
    found = connection.scalar(question)
    if found is None:
        statements.insert_new(connection, table, {"body": body})
        found = connection.scalar(question)
    return int(found)  # type: ignore[arg-type]  # it is there now


def demand_bodies(connection: sa.Connection) -> dict[int, str]:
    """All demands that there have been."""
    return {row.id: row.body for row in connection.execute(sa.select(schema.demands))}


def waiting_demands(connection: sa.Connection, known: Iterable[int]) -> set[int]:
    """Those demands for which a task is ready."""
    return {number for number in known if connection.scalar(_READY_ONE, {"b_demand": number}) is not None}


_READY_ONE: Final = (
    sa.select(_t.c.id).where(schema.is_ready, _t.c.demand == sa.bindparam("b_demand")).limit(1)
)
