"""Statements about who runs a task: leases, results, losses, cancels, and what follows for tasks that waited.

An attempt is its executor's as long as the task's row has both: every statement here begins with that question.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.store import outputs, schema, statements
from parcs.hub.store.statements import Change
from parcs.model import task as model
from parcs.model.task import TaskState

_t: Final = schema.tasks
_MOST: Final = 5000
"""Tasks that are given out in one transaction; who is left without comes next."""


class Leased(NamedTuple):
    """A task that an executor has been given."""

    id: int
    attempt: int
    spec: int
    parameters: dict[str, str]
    state: str


class Wanted(NamedTuple):
    """An executor, its name, and how many tasks it would take."""

    executor: str
    name: str
    most: int


def lease(
    connection: sa.Connection, wanted: Sequence[Wanted], demands: Sequence[int], now: float
) -> list[list[Leased]]:
    """Give ready tasks to executors: those of the highest priority, the oldest first.

    Args:
        demands: those that all of them meet.

    Returns:
        What each was given.
    """
    most = min(sum(each.most for each in wanted), _MOST)
    rows: list[Any] = []
    question = statements.locked(connection, _READY, skip=True)
    for demand in demands:
        rows += connection.execute(question, {"b_demand": demand, "b_most": most}).all()
    if len(demands) > 1:
        rows = sorted(rows, key=lambda row: (-row.priority, row.id))[:most]
    remaining = iter(rows)
    given = [[_leased(row) for row in itertools.islice(remaining, each.most)] for each in wanted]
    if not rows:
        return given
    pairs = [(to, each) for to, leased in zip(wanted, given, strict=True) for each in leased]
    if pairs[0][0] is pairs[-1][0]:
        ids = [each.id for _, each in pairs]
        connection.execute(_LEASE, {"b_ids": ids, "b_executor": pairs[0][0].executor, "b_now": now})
    else:
        leases = [{"b_id": each.id, "b_executor": to.executor, "b_now": now} for to, each in pairs]
        connection.execute(_LEASE_EACH, leases)
    attempts = [
        {
            "task": each.id, "number": each.attempt, "executor": to.executor, "executor_name": to.name,
            "started": now, "state": each.state, "why": "",
        }
        for to, each in pairs
    ]  # fmt: skip
    connection.execute(_ATTEMPT, attempts)
    return given


def _leased(row: Any) -> Leased:
    return Leased(
        row.id,
        row.attempt + 1,
        row.spec,
        json.loads(row.parameters) if row.parameters else {},
        TaskState.COMPILING if row.has_compile else TaskState.RUNNING,
    )


_READY: Final = (
    sa.select(_t.c.id, _t.c.spec, _t.c.attempt, _t.c.parameters, _t.c.has_compile, _t.c.priority)
    .where(schema.is_ready, _t.c.demand == sa.bindparam("b_demand"))
    .order_by(_t.c.priority.desc(), _t.c.id)
    .limit(sa.bindparam("b_most"))
)
"""Statements that are often run are made once: making one costs as much as running it."""


_GIVEN: Final = sa.update(_t).values(
    state=sa.case((_t.c.has_compile, TaskState.COMPILING.value), else_=TaskState.RUNNING.value),
    attempt=_t.c.attempt + 1, executor=sa.bindparam("b_executor"), started=sa.bindparam("b_now"), why="",
)  # fmt: skip
_LEASE: Final = _GIVEN.where(statements.among(_t.c.id, "b_ids"))
_LEASE_EACH: Final = _GIVEN.where(_t.c.id == sa.bindparam("b_id"))


_ATTEMPT: Final = sa.insert(schema.attempts)


def finish(connection: sa.Connection, ended: Sequence[tuple[str, wire.Result]], now: float) -> list[Change]:
    """Take results from executors: those of attempts that are their own. All others change nothing."""
    active = _active(connection, [result.task for _, result in ended])
    updates, ends, changes = [], [], []
    written: list[dict[str, Any]] = []
    for executor, result in ended:
        row = active.get(result.task)
        if row is None or (row.attempt, row.executor) != (result.attempt, executor):
            continue
        del active[result.task]  # another hub's, or an older connection's, copy of it changes nothing
        outcome = TaskState(result.state)
        if not outcome.is_final:
            raise ValueError(f"an attempt does not end as {outcome}")
        if row.is_cancelling and outcome is not TaskState.SUCCEEDED:
            outcome = TaskState.CANCELLED
        is_failure = outcome in model.RETRIED
        state = model.after_attempt(outcome, row.failures + 1, row.retries)
        if row.is_cancelling and state is TaskState.QUEUED:
            state = TaskState.CANCELLED
        is_over = state.is_final
        why = result.why if is_over else f"attempt {result.attempt} ended: {result.why}; it is run again"
        updates.append({
            "b_id": result.task, "b_state": state, "b_ended": now if is_over else None, "b_why": why,
            "b_executor": executor if is_over else None, "b_failures": row.failures + is_failure,
            "b_exit_code": result.exit_code, "b_signal": result.signal, "b_matched": result.matched,
        })  # fmt: skip
        ends.append({
            "b_task": result.task, "b_number": result.attempt, "b_state": outcome, "b_why": result.why,
            "b_ended": now, "b_started": now - result.took_s, "b_exit_code": result.exit_code,
            "b_signal": result.signal, "b_compile": result.compile_exit_code, "b_cpu_s": result.cpu_s,
            "b_memory": result.memory,
        })  # fmt: skip
        written += outputs.pieces(result)
        changes.append(Change(result.task, state))
    if not updates:
        return []
    connection.execute(_FINISH, updates)
    connection.execute(_END_ATTEMPT, ends)
    if written:
        outputs.put(connection, written)
    return changes + settle(connection, changes, now)


_FINISH: Final = (
    sa.update(_t)
    .where(_t.c.id == sa.bindparam("b_id"))
    .values(
        state=sa.bindparam("b_state"), ended=sa.bindparam("b_ended"), why=sa.bindparam("b_why"),
        executor=sa.bindparam("b_executor"), failures=sa.bindparam("b_failures"),
        exit_code=sa.bindparam("b_exit_code"), signal=sa.bindparam("b_signal"), matched=sa.bindparam("b_matched"),
        is_cancelling=False,
    )
)  # fmt: skip


_END_ATTEMPT: Final = (
    sa.update(schema.attempts)
    .where(schema.attempts.c.task == sa.bindparam("b_task"), schema.attempts.c.number == sa.bindparam("b_number"))
    .values(
        state=sa.bindparam("b_state"), why=sa.bindparam("b_why"), ended=sa.bindparam("b_ended"),
        started=sa.bindparam("b_started"), exit_code=sa.bindparam("b_exit_code"),
        signal=sa.bindparam("b_signal"), compile_exit_code=sa.bindparam("b_compile"),
        cpu_s=sa.bindparam("b_cpu_s"), memory=sa.bindparam("b_memory"),
    )
)  # fmt: skip


def _owned(
    connection: sa.Connection, executor: str, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Any]:
    """Those attempts that are this executor's now, with their rows."""
    active = _active(connection, [task for task, _ in keys])
    own = {(row.id, row.attempt): row for row in active.values() if row.executor == executor}
    return {key: own[key] for key in keys if key in own}


def _active(connection: sa.Connection, tasks: Sequence[int]) -> dict[int, Any]:
    """Those tasks that some executor has now, with their rows."""
    question = statements.locked(connection, _ACTIVE)
    return {row.id: row for row in connection.execute(question, {"b_ids": list(tasks)})}


_ACTIVE: Final = sa.select(
    _t.c.id, _t.c.attempt, _t.c.executor, _t.c.retries, _t.c.failures, _t.c.losses, _t.c.is_cancelling
).where(statements.among(_t.c.id, "b_ids"), schema.is_active)


def held(connection: sa.Connection, executor: str) -> set[tuple[int, int]]:
    """The attempts that an executor should have."""
    rows = connection.execute(
        sa.select(_t.c.id, _t.c.attempt).where(_t.c.executor == executor, schema.is_active)
    )
    return {(row.id, row.attempt) for row in rows}


def progress(connection: sa.Connection, executor: str, keys: Sequence[tuple[int, int]]) -> list[Change]:
    """These attempts have come to their command."""
    owned = _owned(connection, executor, keys)
    if not owned:
        return []
    ids = [task for task, _ in owned]
    connection.execute(sa.update(_t).where(_t.c.id.in_(ids)).values(state=TaskState.RUNNING.value))
    table = schema.attempts
    connection.execute(
        sa.update(table)
        .where(sa.tuple_(table.c.task, table.c.number).in_(list(owned)))
        .values(state=TaskState.RUNNING.value)
    )
    return [Change(task, TaskState.RUNNING) for task in ids]


def put_output(connection: sa.Connection, executor: str, given: Sequence[wire.Output]) -> None:
    """Keep what running attempts have written."""
    owned = _owned(connection, executor, list({(o.task, o.attempt) for o in given}))
    pieces = [
        outputs.piece((o.task, o.attempt), o.stream, o.position, o.data)
        for o in given
        if (o.task, o.attempt) in owned and o.stream in contract.STREAMS
    ]
    if pieces:
        outputs.put(connection, pieces)


def give_back(
    connection: sa.Connection, executor: str, keys: Sequence[tuple[int, int]], now: float
) -> list[Change]:
    """These attempts were not begun: as if they had not been given out."""
    owned = _owned(connection, executor, keys)
    if not owned:
        return []
    ids = [task for task, _ in owned]
    cancelled = [task for (task, _), row in owned.items() if row.is_cancelling]
    connection.execute(
        sa.update(_t)
        .where(_t.c.id.in_(ids))
        .values(state=TaskState.QUEUED.value, executor=None, started=None, is_cancelling=False)
    )
    table = schema.attempts
    connection.execute(sa.delete(table).where(sa.tuple_(table.c.task, table.c.number).in_(list(owned))))
    changes = [Change(task, TaskState.QUEUED) for task in ids if task not in cancelled]
    return changes + (cancel(connection, cancelled, now) if cancelled else [])


def lose(
    connection: sa.Connection, executor: str, keys: Sequence[tuple[int, int]] | None, now: float
) -> list[Change]:
    """An executor went silent: its attempts (all, or these) are over, and their tasks run again, or are lost."""
    owned = _owned(connection, executor, list(held(connection, executor) if keys is None else keys))
    changes = []
    for (task, number), row in owned.items():
        state = model.after_loss(row.losses + 1, row.retries)
        if row.is_cancelling:
            state = TaskState.CANCELLED
        why = (
            "its executor went silent"
            + {
                TaskState.QUEUED: "; it is run again",
                TaskState.LOST: f" for the {row.losses + 1}. time",
                TaskState.CANCELLED: " after it was cancelled",
            }[state]
        )
        connection.execute(
            sa.update(_t)
            .where(_t.c.id == task)
            .values(
                state=state.value, why=why, losses=row.losses + 1, is_cancelling=False,
                executor=executor if state.is_final else None, ended=now if state.is_final else None,
            )
        )  # fmt: skip
        table = schema.attempts
        connection.execute(
            sa.update(table)
            .where(table.c.task == task, table.c.number == number)
            .values(state=TaskState.LOST.value, ended=now, why="its executor went silent")
        )
        changes.append(Change(task, state))
    return changes + settle(connection, changes, now)


def cancel(connection: sa.Connection, ids: Sequence[int], now: float) -> list[Change]:
    """Cancel tasks: those that wait at once, those that run when their executor says so; not those that ended."""
    changes: list[Change] = []
    for some in statements.parts(ids):
        question = sa.select(_t.c.id, _t.c.state).where(_t.c.id.in_(some), _t.c.ended.is_(None))
        rows = connection.execute(statements.locked(connection, question)).all()
        queued = [row.id for row in rows if row.state == TaskState.QUEUED]
        active = [row.id for row in rows if row.state != TaskState.QUEUED]
        if queued:
            values = {
                "state": TaskState.CANCELLED.value,
                "ended": now,
                "why": "cancelled before it began",
                "executor": None,
            }
            connection.execute(sa.update(_t).where(_t.c.id.in_(queued)).values(values))
            changes += [Change(task, TaskState.CANCELLED) for task in queued]
        if active:
            values = {"is_cancelling": True, "why": "it is being cancelled"}
            connection.execute(sa.update(_t).where(_t.c.id.in_(active)).values(values))
            changes += [Change(task, "cancelling") for task in active]
    return changes + settle(connection, changes, now)


def to_cancel(connection: sa.Connection) -> dict[str, list[tuple[int, int]]]:
    """Attempts that are to be ended, by the executor that has them."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in connection.execute(_TO_CANCEL):
        found.setdefault(row.executor, []).append((row.id, row.attempt))
    return found


_TO_CANCEL: Final = sa.select(_t.c.id, _t.c.attempt, _t.c.executor).where(schema.is_cancelling)


_WAITING: Final = sa.select(schema.dependencies).where(statements.among(schema.dependencies.c.needs, "b_ids"))


def settle(connection: sa.Connection, changes: Sequence[Change], now: float) -> list[Change]:
    """Tell the tasks that waited for these: a success is one less to wait for, any other end is theirs too."""
    table = schema.dependencies
    ended = {c.task: c.state for c in changes if c.state in model.FINAL}
    further: list[Change] = []
    while ended:
        pairs = connection.execute(_WAITING, {"b_ids": list(ended)}).all()
        if not pairs:
            break
        cascade: dict[int, str] = {}
        for pair in sorted(pairs, key=lambda pair: pair.task):
            if ended[pair.needs] == TaskState.SUCCEEDED:
                values: dict[str, Any] = {"waits_for": _t.c.waits_for - 1}
                further.append(Change(pair.task, TaskState.QUEUED))
            else:
                values = {
                    "state": TaskState.CANCELLED.value,
                    "ended": now,
                    "why": statements.needs_ended(pair.needs, ended[pair.needs]),
                }
                cascade[pair.task] = TaskState.CANCELLED
                further.append(Change(pair.task, TaskState.CANCELLED))
            connection.execute(
                sa.update(_t).where(_t.c.id == pair.task, _t.c.state == TaskState.QUEUED.value).values(values)
            )
        for some in statements.parts(list(ended)):
            connection.execute(sa.delete(table).where(table.c.needs.in_(some)))
        ended = cascade
    return further
