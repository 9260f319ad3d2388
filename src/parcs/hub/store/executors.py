"""Statements about executors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.store import schema, statements
from parcs.model.demand import Offer

_e: Final = schema.executors
_s: Final = schema.executor_sessions
LIVE: Final = ("active", "draining", "disabled")


class Beat(NamedTuple):
    """A sign of life."""

    id: str
    busy: int
    cpu_percent: float
    memory_used: int


def register(
    connection: sa.Connection, hello: wire.Hello, token: int, now: float, lease_until: float
) -> tuple[str, int]:
    """An executor has come, or come back; gives its state, and its session's number."""
    offer = hello.offer
    values = {
        "name": hello.name, "host": hello.host, "version": hello.version, "slots": hello.slots, "busy": 0,
        "offer": json.dumps({"levels": offer.levels, "labels": offer.labels}), "cpus": offer.cpus,
        "memory": offer.memory, "cpu_percent": 0.0, "memory_used": 0, "token": token,
        "lease_until": lease_until, "last_seen": now,
    }  # fmt: skip
    known = connection.execute(sa.select(_e.c.state, _e.c.returns_as).where(_e.c.id == hello.id)).first()
    if known is None:
        connection.execute(sa.insert(_e).values(id=hello.id, state="active", **values))
        return "active", _begin_sessions(connection, [hello.id])[0]
    state = str(known.returns_as if known.state == "gone" else known.state)
    connection.execute(sa.update(_e).where(_e.c.id == hello.id).values(state=state, **values))
    return state, _begin_sessions(connection, [hello.id])[0]


def _begin_sessions(connection: sa.Connection, ids: Sequence[str]) -> list[int]:
    """From now on nothing is given to what these executors were connected by before.

    This waits for transactions that give something just now; what they gave can be seen after it.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    numbers = []
    for id_ in sorted(ids):  # in an order, as whoever else holds several of them
        statement = insert(_s).values(executor=id_, number=1)
        next_one = statement.on_conflict_do_update(
            index_elements=[_s.c.executor], set_={"number": _s.c.number + 1}
        )
        numbers.append(connection.execute(next_one.returning(_s.c.number)).scalar_one())
    return numbers


def hold_sessions(connection: sa.Connection, sessions: Mapping[str, int]) -> set[str]:
    """Those of these executors that are still connected as they were: no other session of theirs begins until the
    transaction's end.

    Every transaction holds executors before sessions, and sessions before tasks: so none waits for another in a
    circle.

    Args:
        sessions: their numbers.
    """
    is_shared = connection.dialect.name == "postgresql"
    rows = connection.execute(_HOLD_SHARED if is_shared else _HOLD, {"b_ids": list(sessions)})
    return {row.executor for row in rows if row.number == sessions[row.executor]}


_HOLD: Final = (
    sa.select(_s.c.executor, _s.c.number)
    .where(statements.among(_s.c.executor, "b_ids"))
    .order_by(_s.c.executor)
)
_HOLD_SHARED: Final = _HOLD.with_for_update(read=True)


def beat(connection: sa.Connection, beats: Sequence[Beat], now: float, lease_until: float) -> None:
    """Executors that are alive."""
    statement = (
        sa.update(_e)
        .where(_e.c.id == sa.bindparam("b_id"), _e.c.state != "gone")
        .values(
            busy=sa.bindparam("b_busy"), cpu_percent=sa.bindparam("b_cpu"), memory_used=sa.bindparam("b_memory"),
            last_seen=now, lease_until=lease_until,
        )
    )  # fmt: skip
    connection.execute(
        statement,
        [{"b_id": b.id, "b_busy": b.busy, "b_cpu": b.cpu_percent, "b_memory": b.memory_used} for b in beats],
    )


def set_state(connection: sa.Connection, id_: str, state: str) -> bool:
    """Drain, disable or enable an executor; False if there is no such one. One that is gone comes back so."""
    values = {"state": sa.case((_e.c.state == "gone", "gone"), else_=state), "returns_as": state}
    return bool(connection.execute(sa.update(_e).where(_e.c.id == id_).values(values)).rowcount)


def leave(connection: sa.Connection, id_: str) -> None:
    """An executor has gone for good. If it is started again, then to work, unless an admin disabled it."""
    returns_as = sa.case((_e.c.returns_as == "disabled", "disabled"), else_="active")
    values = {"state": "gone", "returns_as": returns_as, "lease_until": 0.0, "busy": 0}
    connection.execute(sa.update(_e).where(_e.c.id == id_).values(values))
    _begin_sessions(connection, [id_])


def expired(connection: sa.Connection, now: float, lease_s: float) -> list[str]:
    """Executors whose lease has run out, or is longer than any: from now on they are gone.

    One that lasts too long was written by a clock that has been set back since.
    """
    is_over = sa.or_(_e.c.lease_until < now, _e.c.lease_until > now + 2 * lease_s)
    question = sa.select(_e.c.id).where(is_over, _e.c.state.in_(LIVE))
    if connection.dialect.name == "postgresql":
        question = question.with_for_update(skip_locked=True)
    found = list(connection.scalars(question))
    if found and connection.dialect.name == "postgresql":
        # A hub that stands still in the middle of giving may hold some of them: their turn comes later.
        known = sa.select(_s.c.executor).where(_s.c.executor.in_(found))
        free = set(connection.scalars(known.with_for_update(skip_locked=True)))
        held = set(connection.scalars(known)) - free
        found = [id_ for id_ in found if id_ not in held]
    if found:
        connection.execute(sa.update(_e).where(_e.c.id.in_(found)).values(state="gone", busy=0))
        _begin_sessions(connection, found)
    return found


def forget(connection: sa.Connection, before: float) -> None:
    """Delete executors that have been gone for long, and that no task names; not those that are disabled."""
    named = sa.exists().where(schema.tasks.c.executor == _e.c.id)
    is_over = _e.c.state == "gone", _e.c.returns_as != "disabled", _e.c.last_seen < before
    connection.execute(sa.delete(_e).where(*is_over, ~named))
    connection.execute(sa.delete(_s).where(_s.c.executor.not_in(sa.select(_e.c.id))))


def states(connection: sa.Connection) -> dict[str, tuple[str, int]]:
    """The states of all that are not gone, and the numbers of their last sessions. Each hub asks each second."""
    return {id_: (state, number) for id_, state, number in connection.execute(_STATES)}


_STATES: Final = (
    sa.select(_e.c.id, _e.c.state, _s.c.number).join(_s, _s.c.executor == _e.c.id).where(_e.c.state.in_(LIVE))
)


Load = tuple[str, float, int, int]
"""An executor's id, CPU in percent, memory in bytes, busy slots."""


def loads(connection: sa.Connection, most: int) -> list[Load]:
    """Of executors that are there, the first ``most``."""
    question = sa.select(_e.c.id, _e.c.cpu_percent, _e.c.memory_used, _e.c.busy).where(_e.c.state.in_(LIVE))
    return [
        (row.id, row.cpu_percent, row.memory_used, row.busy)
        for row in connection.execute(question.limit(most))
    ]


def totals(connection: sa.Connection) -> tuple[int, int, int]:
    """How many executors are there, their slots, and the busy ones of those."""
    total = sa.func.coalesce(sa.func.sum(_e.c.slots), 0), sa.func.coalesce(sa.func.sum(_e.c.busy), 0)
    row = connection.execute(sa.select(sa.func.count(), *total).where(_e.c.state.in_(LIVE))).one()
    return int(row[0]), int(row[1]), int(row[2])


def list_all(connection: sa.Connection, *, is_live: bool = False) -> list[contract.Executor]:
    """Executors, those that were seen last first."""
    question = sa.select(_e).order_by(_e.c.last_seen.desc(), _e.c.id)
    if is_live:
        question = question.where(_e.c.state.in_(LIVE))
    return [_executor(row) for row in connection.execute(question)]


def offer_of(executor: contract.Executor) -> Offer:
    """What an executor offers to tasks."""
    return Offer(tuple(executor.levels), dict(executor.labels), executor.memory)


def _executor(row: Any) -> contract.Executor:
    offer = json.loads(row.offer)
    return contract.Executor(
        row.id, row.name, row.host, row.state, row.slots, row.busy, row.version, offer["levels"], offer["labels"],
        row.cpus, row.memory, row.cpu_percent, row.memory_used, row.last_seen,
    )  # fmt: skip
