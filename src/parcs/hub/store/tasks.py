"""Statements about tasks as people ask for them: added, searched, shown, deleted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.store import outputs, schema, statements
from parcs.model import task as model
from parcs.model.task import TaskState

_t: Final = schema.tasks
_RARE: Final = 2000
"""Below this number of tasks in a state, a search goes by them, and not by a label's index."""
HEAD: Final = 4096
"""Bytes of each output that a task's detail shows."""


class NewTask(NamedTuple):
    """A task to be added."""

    spec: int
    demand: int
    user: str
    request: contract.TaskRequest
    command: str
    position: int | None
    parameters: Mapping[str, str]


def add(connection: sa.Connection, new: Sequence[NewTask], now: float) -> int:
    """Add tasks, numbered one after another; gives the first number.

    Raises:
        InvalidRequestError: one of them needs a task that there is not.
    """
    first = _next_ids(connection, len(new))
    needs = sorted({number for task in new for number in task.request.after})
    states = _states(connection, needs)
    if missing := [number for number in needs if number not in states]:
        raise errors.InvalidRequestError(f"there is no task {missing[0]}", "after")
    rows, labels, dependencies = [], [], []
    queued, cancelled = TaskState.QUEUED.value, TaskState.CANCELLED.value
    for i, task in enumerate(new):
        number, request = first + i, task.request
        waits = [n for n in set(request.after) if not TaskState(states[n]).is_final]
        failed = [
            n for n in request.after if TaskState(states[n]).is_final and states[n] != TaskState.SUCCEEDED
        ]
        rows.append((
            number, task.spec, task.demand, task.user, request.name, task.command,
            cancelled if failed else queued, request.priority, request.retries, request.compile is not None,
            len(waits), None if task.position is None else number - task.position, task.position,
            _json(task.parameters), _json(request.labels), now, now if failed else None, 0, 0, 0, False,
            statements.needs_ended(failed[0], states[failed[0]]) if failed else "",
        ))  # fmt: skip
        labels += [(name, value, number) for name, value in request.labels.items()]
        dependencies += [(number, needed) for needed in waits]
    statements.insert(connection, _t, _NEW, rows)
    statements.insert(connection, schema.labels, ("name", "value", "task"), labels)
    statements.insert(connection, schema.dependencies, ("task", "needs"), dependencies)
    return first


_NEW: Final = (
    "id", "spec", "demand", "user", "name", "command", "state", "priority", "retries", "has_compile", "waits_for",
    "series", "position", "parameters", "labels", "created", "ended", "attempt", "failures", "losses",
    "is_cancelling", "why",
)  # fmt: skip


def _json(pairs: Mapping[str, str]) -> str | None:
    return msgspec.json.encode(pairs).decode() if pairs else None


def _next_ids(connection: sa.Connection, count: int) -> int:
    """Numbers that nobody else gets: the first of ``count``."""
    if connection.dialect.name == "postgresql":
        # The numbers of a submission follow one another. A step of the sequence is for all to see at once, so the
        # lock is not kept until the commit, which may wait for a standby.
        last = connection.scalar(
            sa.text(
                "SELECT last FROM (SELECT pg_advisory_lock(7001), "
                "setval('tasks_id_seq', nextval('tasks_id_seq') + :n) AS last, pg_advisory_unlock(7001)) AS step"
            ),
            {"n": count - 1},
        )
        return int(last or 0) - count + 1
    last = connection.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'"))
    return int(last or 0) + 1


def _states(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in statements.parts(ids):
        rows = connection.execute(
            statements.locked(connection, sa.select(_t.c.id, _t.c.state).where(_t.c.id.in_(some)))
        )
        found |= {row.id: row.state for row in rows}
    return found


def search(
    connection: sa.Connection, query: contract.Query, *, after: int | None, limit: int, is_ascending: bool
) -> list[contract.Task]:
    """Tasks that a query means, from a cursor on."""
    source: sa.FromClause = _t.outerjoin(schema.executors, _BY)
    number: sa.ColumnElement[int] = _t.c.id
    conditions = _conditions(query)
    few = _few(connection, query.states) if query.labels and query.states else None
    if few is not None:
        conditions = [_t.c.id.in_(few), *_conditions(dataclasses.replace(query, states=()))]
    elif query.labels:
        # In the order of the label's own index: a page of a common label is as cheap as one of a rare one.
        (name, value), *_ = query.labels.items()
        source = schema.labels.join(source, schema.labels.c.task == _t.c.id)
        number = schema.labels.c.task
        rest = dataclasses.replace(query, labels=dict(list(query.labels.items())[1:]), states=())
        conditions = [schema.labels.c.name == name, schema.labels.c.value == value, *_conditions(rest)]
        if query.states:
            conditions.append((_t.c.state + "").in_(list(query.states)))  # as an expression: not by its index
    question = sa.select(*_LISTED).select_from(source).where(*conditions)
    if after is not None:
        question = question.where(number > after if is_ascending else number < after)
    rows = connection.execute(question.order_by(number.asc() if is_ascending else number.desc()).limit(limit))
    return [_task(row) for row in rows]


def _few(connection: sa.Connection, states: Sequence[str]) -> list[int] | None:
    """The tasks in these states, if they are few."""
    found = list(connection.scalars(sa.select(_t.c.id).where(_t.c.state.in_(list(states))).limit(_RARE)))
    return found if len(found) < _RARE else None


def counts(connection: sa.Connection, query: contract.Query) -> dict[str, int]:
    """How many tasks there are in each state."""
    question = sa.select(_t.c.state, sa.func.count()).where(*_conditions(query)).group_by(_t.c.state)
    found = {state.value: 0 for state in TaskState}
    for state, count in connection.execute(question):
        found[state] = count
    return found


def ids_of(connection: sa.Connection, query: contract.Query, most: int) -> list[int]:
    """The numbers of the tasks that a query means."""
    question = sa.select(_t.c.id).where(*_conditions(query)).order_by(_t.c.id).limit(most)
    return list(connection.scalars(question))


def get(connection: sa.Connection, number: int) -> contract.Task | None:
    """One task."""
    question = sa.select(*_LISTED).outerjoin_from(_t, schema.executors, _BY).where(_t.c.id == number)
    row = connection.execute(question).one_or_none()
    return None if row is None else _task(row)


def spec_of(connection: sa.Connection, number: int) -> tuple[bytes, str]:
    """The spec of a task, and its demand."""
    question = (
        sa.select(schema.specs.c.body, schema.demands.c.body)
        .join_from(_t, schema.specs, schema.specs.c.id == _t.c.spec)
        .join(schema.demands, schema.demands.c.id == _t.c.demand)
        .where(_t.c.id == number)
    )
    spec, demand = connection.execute(question).one()
    return bytes(spec), demand


def waits_for(connection: sa.Connection, number: int) -> list[int]:
    """The tasks that a task waits for."""
    table = schema.dependencies
    return list(
        connection.scalars(sa.select(table.c.needs).where(table.c.task == number).order_by(table.c.needs))
    )


def ahead(connection: sa.Connection, number: int, most: int) -> int:
    """How many ready tasks would be given out before this one; counted up to ``most``."""
    me = sa.select(_t.c.priority, _t.c.demand).where(_t.c.id == number).subquery()
    before = (
        sa.select(_t.c.id)
        .where(
            schema.is_ready,
            _t.c.demand == me.c.demand,
            sa.or_(_t.c.priority > me.c.priority, sa.and_(_t.c.priority == me.c.priority, _t.c.id < number)),
        )
        .limit(most)
        .subquery()
    )
    return int(connection.scalar(sa.select(sa.func.count()).select_from(before)) or 0)


def attempts(connection: sa.Connection, number: int, head: int = HEAD) -> list[contract.Attempt]:
    """Every attempt at a task, with the beginning of what it wrote."""
    table, written = schema.attempts, schema.outputs
    sizes: dict[int, dict[str, int]] = {}
    question = (
        sa.select(written.c.attempt, written.c.name, sa.func.sum(written.c.size))
        .where(written.c.task == number)
        .group_by(written.c.attempt, written.c.name)
    )
    for attempt, name, size in connection.execute(question):
        sizes.setdefault(attempt, {})[name] = int(size)
    rows = connection.execute(sa.select(table).where(table.c.task == number).order_by(table.c.number))
    return [
        contract.Attempt(
            row.number, row.executor_name, row.started, row.ended, row.state, row.exit_code, row.signal,
            row.compile_exit_code, row.cpu_s, row.memory, row.why,
            {
                name: outputs.read(connection, number, row.number, name, 0, head).decode(errors="replace")
                for name in sizes.get(row.number, {})
                if name in contract.STREAMS
            },
            sizes.get(row.number, {}),
        )
        for row in rows
    ]  # fmt: skip


def delete(connection: sa.Connection, ids: Sequence[int]) -> list[int]:
    """Delete tasks that are over, with all that they wrote; gives those that were."""
    gone: list[int] = []
    for some in statements.parts(ids):
        question = sa.select(_t.c.id).where(_t.c.id.in_(some), _t.c.ended.is_not(None))
        numbers = list(connection.scalars(question))
        for column in (
            schema.outputs.c.task,
            schema.attempts.c.task,
            schema.labels.c.task,
            schema.dependencies.c.task,
        ):
            connection.execute(sa.delete(column.table).where(column.in_(numbers)))
        connection.execute(sa.delete(_t).where(_t.c.id.in_(numbers)))
        gone += numbers
    return gone


def expired(connection: sa.Connection, before: float, keep: int, most: int) -> list[int]:
    """Tasks that ended before a time, or are more than are kept."""
    old = sa.select(_t.c.id).where(_t.c.ended < before).limit(most)
    found = list(connection.scalars(old)) if before > 0 else []
    if keep:
        bound = connection.scalar(
            sa.select(_t.c.id).where(_t.c.ended.is_not(None)).order_by(_t.c.id.desc()).offset(keep).limit(1)
        )
        if bound is not None:
            question = (
                sa.select(_t.c.id)
                .where(_t.c.id <= bound, _t.c.ended.is_not(None))
                .order_by(_t.c.id)
                .limit(most)
            )
            found += list(connection.scalars(question))
    return sorted(set(found))[:most]


def forget_unused(connection: sa.Connection, before: float) -> None:
    """Delete specs and archives that no task has any more."""
    specs, archives = schema.specs, schema.archives
    connection.execute(sa.delete(specs).where(~sa.exists().where(_t.c.spec == specs.c.id)))
    connection.execute(
        sa.delete(archives).where(
            archives.c.used < before, ~sa.exists().where(specs.c.archive == archives.c.digest)
        )
    )


def check_invariants(connection: sa.Connection) -> None:
    """What always holds, whatever happened. For tests.

    Raises:
        AssertionError: it does not.
    """
    broken = {
        "active without an executor": sa.and_(schema.is_active, _t.c.executor.is_(None)),
        "queued with an executor": sa.and_(_t.c.state == "queued", _t.c.executor.is_not(None)),
        "final without an end": sa.and_(_t.c.state.in_(model.FINAL), _t.c.ended.is_(None)),
        "ended but not final": sa.and_(_t.c.state.not_in(model.FINAL), _t.c.ended.is_not(None)),
    }
    for name, condition in broken.items():
        if (found := connection.scalar(sa.select(_t.c.id).where(condition).limit(1))) is not None:
            raise AssertionError(f"task {found}: {name}")
    table = schema.attempts
    accepted = (
        sa.select(table.c.task)
        .where(table.c.state.in_([TaskState.SUCCEEDED.value]))
        .group_by(table.c.task)
        .having(sa.func.count() > 1)
    )
    if (twice := connection.scalar(accepted.limit(1))) is not None:
        raise AssertionError(f"task {twice} succeeded twice")


def _conditions(query: contract.Query) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if query.ids:
        found.append(_t.c.id.in_(list(query.ids)))
    if query.states:
        found.append(_t.c.state.in_(list(query.states)))
    for column, value in (
        (_t.c.user, query.user), (_t.c.name, query.name), (_t.c.series, query.array),
        (_t.c.executor, query.executor),
    ):  # fmt: skip
        if value is not None:
            found.append(column == value)
    for name, value in query.labels.items():
        table = schema.labels.alias()
        found.append(_t.c.id.in_(sa.select(table.c.task).where(table.c.name == name, table.c.value == value)))
    if query.text:
        found.append(
            sa.or_(
                _t.c.name.icontains(query.text, autoescape=True),
                _t.c.command.icontains(query.text, autoescape=True),
            )
        )
    if query.created_from is not None:
        found.append(_t.c.created >= query.created_from)
    if query.created_until is not None:
        found.append(_t.c.created < query.created_until)
    return found


_BY: Final = schema.executors.c.id == _t.c.executor


_LISTED: Final = (
    _t.c.id, _t.c.name, _t.c.state, _t.c.user, _t.c.command, _t.c.priority, _t.c.created, _t.c.started, _t.c.ended,
    _t.c.attempt, schema.executors.c.name.label("executor"), _t.c.exit_code, _t.c.signal, _t.c.matched, _t.c.why,
    _t.c.series.label("array"), _t.c.position.label("index"), _t.c.parameters, _t.c.labels,
)  # fmt: skip


def _task(row: Any) -> contract.Task:
    values = dict(row._mapping)
    for name in ("parameters", "labels"):
        values[name] = json.loads(values[name]) if values[name] else {}
    return contract.Task(**values)
