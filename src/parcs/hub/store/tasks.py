"""Statements about tasks. Each function is part of a transaction.

What it returns as `Change` is for others to hear.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from parcs import errors
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.store import schema
from parcs.model import task as model
from parcs.model.task import TaskState

_t: Final = schema.tasks
_ROWS: Final = 500
"""How many rows one statement is about; databases limit how many values a statement may have."""
_RARE: Final = 2000
HEAD: Final = 4096
"""Bytes of each output that a task's detail shows."""


class Change(NamedTuple):
    """A task has come to another state."""

    task: int
    state: str


class NewTask(NamedTuple):
    """A task to be added."""

    spec: int
    demand: int
    user: str
    request: contract.TaskRequest
    command: str
    position: int | None
    parameters: Mapping[str, str]


class Leased(NamedTuple):
    """A task that an executor has been given."""

    id: int
    attempt: int
    spec: int
    parameters: dict[str, str]
    state: str


def spec_ids(connection: sa.Connection, specs: Mapping[str, tuple[bytes, str]]) -> dict[str, int]:
    """The numbers of specs, by their digests; those that are new are added.

    Args:
        specs: by digest: body, and digest of the archive.
    """
    table = schema.specs

    def known(digests: list[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for i in range(0, len(digests), _ROWS):
            some = digests[i : i + _ROWS]
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
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(insert(table).values(body=body).on_conflict_do_nothing())
        found = connection.scalar(question)
    return int(found)  # type: ignore[arg-type]  # it is there now


def demand_bodies(connection: sa.Connection) -> dict[int, str]:
    """All demands that there have been."""
    return {row.id: row.body for row in connection.execute(sa.select(schema.demands))}


def waiting_demands(connection: sa.Connection, known: Iterable[int]) -> set[int]:
    """Those demands for which a task is ready."""
    return {
        number
        for number in known
        if connection.scalar(sa.select(_t.c.id).where(schema.is_ready, _t.c.demand == number).limit(1))
        is not None
    }


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
            _needs(failed[0], states[failed[0]]) if failed else "",
        ))  # fmt: skip
        labels += [(name, value, number) for name, value in request.labels.items()]
        dependencies += [(number, needed) for needed in waits]
    _insert(connection, _t, _NEW, rows)
    _insert(connection, schema.labels, ("name", "value", "task"), labels)
    _insert(connection, schema.dependencies, ("task", "needs"), dependencies)
    return first


_NEW: Final = (
    "id", "spec", "demand", "user", "name", "command", "state", "priority", "retries", "has_compile", "waits_for",
    "series", "position", "parameters", "labels", "created", "ended", "attempt", "failures", "losses",
    "is_cancelling", "why",
)  # fmt: skip


def _json(pairs: Mapping[str, str]) -> str | None:
    return msgspec.json.encode(pairs).decode() if pairs else None


def _insert(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    """Insert rows by the driver itself: of a hundred thousand, most of the time would be SQLAlchemy's."""
    if rows:
        quoted = connection.dialect.identifier_preparer.quote
        place = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        names, places = ", ".join(map(quoted, columns)), ", ".join([place] * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {quoted(table.name)} ({names}) VALUES ({places})", rows)  # noqa: S608  # our own names


def _next_ids(connection: sa.Connection, count: int) -> int:
    """Numbers that nobody else gets: the first of ``count``."""
    if connection.dialect.name == "postgresql":
        # One advisory lock for the while: the numbers of a submission follow one another.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7001)")
        last = connection.scalar(
            sa.text("SELECT setval('tasks_id_seq', nextval('tasks_id_seq') + :n)"), {"n": count - 1}
        )
        return int(last) - count + 1
    last = connection.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'"))
    return int(last or 0) + 1


def _states(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in _parts(ids):
        rows = connection.execute(
            _locked(connection, sa.select(_t.c.id, _t.c.state).where(_t.c.id.in_(some)))
        )
        found |= {row.id: row.state for row in rows}
    return found


def lease(
    connection: sa.Connection, executor: str, name: str, demands: Sequence[int], most: int, now: float
) -> list[Leased]:
    """Give ready tasks to an executor: those of the highest priority, the oldest first.

    Args:
        demands: those that it meets.
    """
    columns = (_t.c.id, _t.c.spec, _t.c.attempt, _t.c.parameters, _t.c.has_compile, _t.c.priority)
    rows: list[Any] = []
    for demand in demands:
        question = (
            sa.select(*columns)
            .where(schema.is_ready, _t.c.demand == demand)
            .order_by(_t.c.priority.desc(), _t.c.id)
            .limit(most)
        )
        rows += connection.execute(_locked(connection, question, skip=True)).all()
    if len(demands) > 1:
        rows = sorted(rows, key=lambda row: (-row.priority, row.id))[:most]
    if not rows:
        return []
    leased = [
        Leased(
            row.id,
            row.attempt + 1,
            row.spec,
            json.loads(row.parameters) if row.parameters else {},
            TaskState.COMPILING if row.has_compile else TaskState.RUNNING,
        )
        for row in rows
    ]
    for some in _parts([each.id for each in leased]):
        connection.execute(
            sa.update(_t)
            .where(_t.c.id.in_(some))
            .values(
                state=sa.case((_t.c.has_compile, TaskState.COMPILING.value), else_=TaskState.RUNNING.value),
                attempt=_t.c.attempt + 1,
                executor=executor,
                started=now,
                why="",
            )
        )
    connection.execute(
        sa.insert(schema.attempts),
        [
            {
                "task": each.id, "number": each.attempt, "executor": executor, "executor_name": name,
                "started": now, "state": each.state, "why": "",
            }
            for each in leased
        ],
    )  # fmt: skip
    return leased


def finish(
    connection: sa.Connection, executor: str, results: Sequence[wire.Result], now: float
) -> list[Change]:
    """Take results from an executor: those of attempts that are its own. All others change nothing."""
    owned = _owned(connection, executor, [(r.task, r.attempt) for r in results])
    updates, ends, outputs, changes = [], [], [], []
    for result in results:
        row = owned.get((result.task, result.attempt))
        if row is None:
            continue
        outcome = TaskState(result.state)
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
        outputs += _pieces(result)
        changes.append(Change(result.task, state))
    if not updates:
        return []
    connection.execute(_FINISH, updates)
    connection.execute(_END_ATTEMPT, ends)
    if outputs:
        _put(connection, outputs)
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
    columns = (_t.c.id, _t.c.attempt, _t.c.retries, _t.c.failures, _t.c.losses, _t.c.is_cancelling)
    found: dict[tuple[int, int], Any] = {}
    for some in _parts([task for task, _ in keys]):
        question = sa.select(*columns).where(_t.c.id.in_(some), _t.c.executor == executor, schema.is_active)
        found |= {(row.id, row.attempt): row for row in connection.execute(_locked(connection, question))}
    wanted = set(keys)
    return {key: row for key, row in found.items() if key in wanted}


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


def put_output(connection: sa.Connection, executor: str, outputs: Sequence[wire.Output]) -> None:
    """Keep what running attempts have written."""
    owned = _owned(connection, executor, list({(o.task, o.attempt) for o in outputs}))
    pieces = [
        _piece((o.task, o.attempt), o.stream, o.position, o.data)
        for o in outputs
        if (o.task, o.attempt) in owned and o.stream in contract.STREAMS
    ]
    if pieces:
        _put(connection, pieces)


def give_back(connection: sa.Connection, executor: str, keys: Sequence[tuple[int, int]]) -> list[Change]:
    """These attempts were not begun: as if they had not been given out."""
    owned = _owned(connection, executor, keys)
    if not owned:
        return []
    ids = [task for task, _ in owned]
    cancelled = [task for (task, _), row in owned.items() if row.is_cancelling]
    connection.execute(
        sa.update(_t)
        .where(_t.c.id.in_(ids))
        .values(state=TaskState.QUEUED.value, executor=None, started=None)
    )
    table = schema.attempts
    connection.execute(sa.delete(table).where(sa.tuple_(table.c.task, table.c.number).in_(list(owned))))
    changes = [Change(task, TaskState.QUEUED) for task in ids if task not in cancelled]
    return changes + (cancel(connection, cancelled, 0.0) if cancelled else [])


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
    for some in _parts(ids):
        question = sa.select(_t.c.id, _t.c.state).where(_t.c.id.in_(some), _t.c.ended.is_(None))
        rows = connection.execute(_locked(connection, question)).all()
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


def to_cancel(connection: sa.Connection, executors: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Attempts that are to be ended, by the executor that has them."""
    question = sa.select(_t.c.id, _t.c.attempt, _t.c.executor).where(
        _t.c.executor.in_(list(executors)), schema.is_active, _t.c.is_cancelling
    )
    found: dict[str, list[tuple[int, int]]] = {}
    for row in connection.execute(question):
        found.setdefault(row.executor, []).append((row.id, row.attempt))
    return found


def settle(connection: sa.Connection, changes: Sequence[Change], now: float) -> list[Change]:
    """Tell the tasks that waited for these: a success is one less to wait for, any other end is theirs too."""
    table = schema.dependencies
    ended = {c.task: c.state for c in changes if c.state in model.FINAL}
    further: list[Change] = []
    while ended:
        pairs: list[Any] = []
        for some in _parts(list(ended)):
            pairs += connection.execute(sa.select(table).where(table.c.needs.in_(some))).all()
        if not pairs:
            break
        cascade: dict[int, str] = {}
        for pair in pairs:
            if ended[pair.needs] == TaskState.SUCCEEDED:
                values: dict[str, Any] = {"waits_for": _t.c.waits_for - 1}
                further.append(Change(pair.task, TaskState.QUEUED))
            else:
                values = {
                    "state": TaskState.CANCELLED.value,
                    "ended": now,
                    "why": _needs(pair.needs, ended[pair.needs]),
                }
                cascade[pair.task] = TaskState.CANCELLED
                further.append(Change(pair.task, TaskState.CANCELLED))
            connection.execute(
                sa.update(_t).where(_t.c.id == pair.task, _t.c.state == TaskState.QUEUED.value).values(values)
            )
        for some in _parts(list(ended)):
            connection.execute(sa.delete(table).where(table.c.needs.in_(some)))
        ended = cascade
    return further


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
                name: output(connection, number, row.number, name, 0, head).decode(errors="replace")
                for name in sizes.get(row.number, {})
                if name in contract.STREAMS
            },
            sizes.get(row.number, {}),
        )
        for row in rows
    ]  # fmt: skip


def last_attempt(connection: sa.Connection, number: int) -> int:
    """The number of the latest attempt; 0 if there is none."""
    table = schema.attempts
    return int(connection.scalar(sa.select(sa.func.max(table.c.number)).where(table.c.task == number)) or 0)


def output(connection: sa.Connection, number: int, attempt: int, name: str, start: int, most: int) -> bytes:
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


def output_names(connection: sa.Connection, number: int, attempt: int) -> list[str]:
    """What an attempt wrote: streams, and files as ``file/PATH``."""
    table = schema.outputs
    question = sa.select(table.c.name).where(table.c.task == number, table.c.attempt == attempt).distinct()
    return sorted(connection.scalars(question))


def delete(connection: sa.Connection, ids: Sequence[int]) -> list[int]:
    """Delete tasks that are over, with all that they wrote; gives those that were."""
    gone: list[int] = []
    for some in _parts(ids):
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
    for column, value in ((_t.c.user, query.user), (_t.c.name, query.name), (_t.c.series, query.array)):
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


def _pieces(result: wire.Result) -> list[dict[str, Any]]:
    key = (result.task, result.attempt)
    found = [
        _piece(key, name, at, data) for name, (at, data) in result.streams.items() if name in contract.STREAMS
    ]
    return found + [_piece(key, f"file/{path}", 0, data) for path, data in result.files.items()]


def _piece(key: tuple[int, int], name: str, position: int, data: bytes) -> dict[str, Any]:
    return {
        "task": key[0],
        "attempt": key[1],
        "name": name,
        "position": position,
        "data": data,
        "size": len(data),
    }


def _put(connection: sa.Connection, pieces: Sequence[Mapping[str, Any]]) -> None:
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


def _locked(connection: sa.Connection, question: sa.Select[Any], *, skip: bool = False) -> sa.Select[Any]:
    """Hold the rows until the transaction's end, in an order; with one writer only, that is so already."""
    if connection.dialect.name != "postgresql":
        return question
    if not skip:
        question = question.order_by(_t.c.id)
    return question.with_for_update(of=_t, skip_locked=skip)


def _parts(ids: Sequence[int]) -> list[list[int]]:
    listed = list(dict.fromkeys(ids))
    return [listed[i : i + _ROWS] for i in range(0, len(listed), _ROWS)]


def _needs(number: int, state: str) -> str:
    return f"it needs task {number}, which ended as {state}"
