"""Tasks as people ask for them: submit, search, cancel, repeat, delete, explain."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from parcs import archive, errors
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.services import access, checks
from parcs.hub.services.access import Action
from parcs.hub.services.changes import Changes, News, Watcher
from parcs.hub.services.dispatch import Dispatch, Given
from parcs.hub.services.once import Key, once
from parcs.hub.services.plan import Plan
from parcs.hub.settings import HubSettings
from parcs.hub.store import executors, leases, outputs, people, tasks
from parcs.hub.store.database import Database
from parcs.hub.store.people import Bearer
from parcs.hub.store.statements import Change
from parcs.model.demand import Offer, why_none
from parcs.model.task import TaskState

_decode_spec = msgspec.msgpack.Decoder(wire.Spec).decode
_encode_spec = msgspec.msgpack.Encoder(order="deterministic").encode
_ASKED: Final = 64
"""Executors that a submission is offered to at once, in its own transaction."""
_AT_ONCE: Final = 10_000
"""Tasks that one bulk cancel or delete changes in a transaction."""
_AHEAD: Final = 1000
_TAIL: Final = 400
_WAIT_S: Final = 60.0
_LOOK_S: Final = 1.0


class Work:
    """Every verb about tasks."""

    def __init__(
        self,
        database: Database,
        dispatch: Dispatch,
        changes: Changes,
        settings: HubSettings,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._dispatch, self._changes = database, dispatch, changes
        self._settings, self._clock = settings, clock

    async def submit(
        self, bearer: Bearer, requests: Sequence[contract.TaskRequest], key: str = ""
    ) -> contract.Submitted:
        """Add tasks; returns when they are committed.

        Args:
            key: an idempotency key: the same request with it again has the same answer, and adds nothing.

        Raises:
            InvalidRequestError, TooMuchError: a request makes no sense, or is too large. Nothing was added.
            ConflictError: the key was used for another request.
        """
        access.demand(bearer, Action.SUBMIT)
        if not requests:
            raise errors.InvalidRequestError("has no tasks")
        count = sum(1 if r.array is None else len(r.array) for r in requests)
        if count > self._settings.tasks_at_once:
            raise errors.TooMuchError(
                f"{count} tasks at once; at most {self._settings.tasks_at_once} can be submitted together"
            )

        def prepare() -> tuple[Plan, Key | None]:
            return Plan(requests), Key.of(bearer.user, key, requests)

        plan, named = await asyncio.to_thread(prepare) if len(requests) > 20 else prepare()
        now = self._clock()
        reserved = self._dispatch.reserve(count, _ASKED)
        leased: Given = []

        def work(connection: sa.Connection) -> contract.Submitted:
            connected = self._dispatch.connected(connection, reserved) if reserved else []
            rows = plan.rows(connection, bearer.user, now, self._dispatch.numbers)
            answer = contract.Submitted(tasks.add(connection, rows, now), count)
            # What can begin at once does: its lease needs no transaction of its own.
            leased[:] = self._dispatch.give(connection, connected) if connected else []
            return answer

        async with self._dispatch.giving(reserved) as given:
            answer, is_first = await once(self._database, named, work, contract.Submitted, self._clock)
            given[:] = leased if is_first else []
            self._changes.publish([News("task", answer.first, TaskState.QUEUED)])
        await self._dispatch.know(plan.demands)
        if sum(len(its) for _, its in given) < count:
            self._dispatch.wake()
        return contract.Submitted(answer.first, answer.count, await self._why_not_now(plan))

    async def _why_not_now(self, plan: Plan) -> str:
        missing = [
            body for body in plan.demands if not self._dispatch.fits_here(checks.demand_from_json(body))
        ]
        if not missing:
            return ""
        offers = await self.offers()
        reasons = (why_none(checks.demand_from_json(body), offers) for body in missing)
        return next((reason for reason in reasons if reason), "")

    async def offers(self) -> dict[str, Offer]:
        """What the executors that are there offer, by name."""
        live = await self._database.read(lambda c: executors.list_all(c, is_live=True))
        return {f"{e.name} ({e.id[:4]})": executors.offer_of(e) for e in live if e.state == "active"}

    async def page(
        self, query: contract.Query, *, cursor: str | None, limit: int, is_ascending: bool
    ) -> contract.TaskPage:
        """Some of the tasks that a query means.

        Raises:
            InvalidRequestError: the cursor is none of ours.
        """
        try:
            after = None if cursor is None else int(cursor)
        except ValueError:
            raise errors.InvalidRequestError("is none that this hub gave", "cursor") from None
        if after is not None and abs(after) >= 1 << 62:
            raise errors.InvalidRequestError("is none that this hub gave", "cursor")
        _check_query(query)
        found = await self._database.read(
            lambda c: tasks.search(c, query, after=after, limit=limit + 1, is_ascending=is_ascending)
        )
        more = len(found) > limit
        return contract.TaskPage(found[:limit], str(found[limit - 1].id) if more else None)

    async def counts(self, query: contract.Query) -> dict[str, int]:
        """How many there are in each state."""
        _check_query(query)
        return await self._database.read(lambda c: tasks.counts(c, query))

    async def wait(self, query: contract.Query, timeout_s: float) -> dict[str, int]:
        """As `counts`, but not before all of them are over, or the time is."""
        deadline = time.monotonic() + min(max(0.0, timeout_s), _WAIT_S)
        async with self._changes.watch() as watcher:
            while True:
                found = await self.counts(query)
                left = deadline - time.monotonic()
                if left <= 0 or not any(found[state] for state in ("queued", "compiling", "running")):
                    return found
                until = time.monotonic() + min(left, _LOOK_S)
                while (left := until - time.monotonic()) > 0:
                    try:
                        news = await asyncio.wait_for(watcher.get(), left)
                    except TimeoutError:
                        break
                    if (
                        news.kind == "task"
                        and news.state in _ENDS
                        and (not query.ids or news.id in query.ids)
                    ):
                        until = min(until, time.monotonic() + (0.0 if len(query.ids) == 1 else 0.1))

    async def task(self, number: int) -> contract.Task:
        """One task, as lists show it.

        Raises:
            NotFoundError: there is none.
        """
        found = await self._database.read(lambda c: tasks.get(c, _sane(number)))
        if found is None:
            raise errors.NotFoundError(f"there is no task {number}")
        return found

    async def detail(self, number: int) -> contract.TaskDetail:
        """One task whole.

        Raises:
            NotFoundError: there is none.
        """

        def work(connection: sa.Connection) -> contract.TaskDetail | None:
            task = tasks.get(connection, _sane(number))
            if task is None:
                return None
            spec, demand = tasks.spec_of(connection, number)
            waits = tasks.waits_for(connection, number) if task.state == TaskState.QUEUED else []
            request = checks.request_of(
                _decode_spec(spec), task, waits, checks.demand_from_json(demand).where
            )
            return contract.TaskDetail(task, request, tasks.attempts(connection, number), waits)

        found = await self._database.read(work)
        if found is None:
            raise errors.NotFoundError(f"there is no task {number}")
        return found

    async def run(
        self, bearer: Bearer, request: contract.TaskRequest, key: str, timeout_s: float
    ) -> contract.TaskDetail:
        """Submit a task, and give it when it is over or after a time."""
        async with self._changes.watch() as watcher:
            submitted = await self.submit(bearer, [request], key)
            return await self._when_over(watcher, submitted.first, timeout_s)

    async def detail_when_over(self, number: int, timeout_s: float) -> contract.TaskDetail:
        """One task whole, when it is over or after a time.

        Raises:
            NotFoundError: there is none.
        """
        async with self._changes.watch() as watcher:
            task = await self.task(number)
            return await self._when_over(watcher, number, 0.0 if task.ended is not None else timeout_s)

    async def _when_over(self, watcher: Watcher, number: int, timeout_s: float) -> contract.TaskDetail:
        """A task that was not over when the watcher began."""
        deadline = time.monotonic() + min(timeout_s, _WAIT_S)
        while (left := deadline - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _LOOK_S)):
                    while (news := await watcher.get()).id != number or news.state not in _ENDS:
                        pass
                break
            except TimeoutError:  # another hub may have the news
                if (await self.task(number)).ended is not None:
                    break
        return await self.detail(number)

    async def explain(self, number: int) -> str:
        """One sentence, or two: why a task waits, runs, or ended.

        Raises:
            NotFoundError: there is none.
        """
        detail = await self.detail(number)
        task = detail.task
        if task.state == TaskState.QUEUED:
            return await self._why_waiting(detail)
        if task.state == TaskState.COMPILING:
            return f"it is being compiled by {task.executor}, attempt {task.attempt}"
        if task.state == TaskState.RUNNING:
            return task.why or f"it runs on {task.executor}, attempt {task.attempt}"
        why = task.why or {"succeeded": "it ended with exit status 0"}.get(task.state, task.state)
        if task.state != TaskState.SUCCEEDED and detail.attempts:
            last = detail.attempts[-1].output
            text = last.get("stderr") or last.get("compile_stderr") or last.get("stdout") or ""
            tail = text.rstrip()[-_TAIL:]
            if not why.endswith(tail):
                why += f"; the last that it wrote: {tail}"
        return why

    async def _why_waiting(self, detail: contract.TaskDetail) -> str:
        task = detail.task
        if detail.waits_for:
            numbers = ", ".join(map(str, detail.waits_for[:5])) + (
                ", ..." if len(detail.waits_for) > 5 else ""
            )
            return f"it waits for task{'s' if len(detail.waits_for) > 1 else ''} {numbers}"

        def work(connection: sa.Connection) -> tuple[str, int]:
            return tasks.spec_of(connection, task.id)[1], tasks.ahead(connection, task.id, _AHEAD)

        demand, ahead = await self._database.read(work)
        before = f"{task.why}; " if task.why else ""
        if none := why_none(checks.demand_from_json(demand), await self.offers()):
            return before + none
        if ahead:
            count = f"{ahead} tasks are" if ahead > 1 else "one task is"
            return (
                f"{before}{'more than ' if ahead == _AHEAD else ''}{count} before it, and all slots are busy"
            )
        return f"{before}it is the next, as soon as a slot is free"

    async def cancel(self, bearer: Bearer, query: contract.Query) -> int:
        """Cancel all that a query means and that is not over; gives how many that were."""
        return await self._change(bearer, query, leases.cancel)

    async def delete(self, bearer: Bearer, query: contract.Query) -> int:
        """Delete all that a query means and that is over; gives how many that were."""

        def work(connection: sa.Connection, ids: Sequence[int], _: float) -> list[Change]:
            return [Change(number, "deleted") for number in tasks.delete(connection, ids)]

        return await self._change(bearer, query, work)

    async def _change(
        self,
        bearer: Bearer,
        query: contract.Query,
        verb: Callable[[sa.Connection, Sequence[int], float], list[Change]],
    ) -> int:
        access.demand(bearer, Action.CHANGE_OWN)
        _check_query(query)
        if not access.allows(bearer, Action.CHANGE_ALL):
            query = _own(query, bearer)
        done = 0
        asked = query
        while True:

            def work(
                connection: sa.Connection, asked: contract.Query = asked
            ) -> tuple[list[int], list[Change]]:
                ids = tasks.ids_of(connection, asked, _AT_ONCE)
                return ids, verb(connection, ids, self._clock())

            ids, changed = await self._database.write(work)
            done += len({c.task for c in changed if c.state in ("cancelled", "cancelling", "deleted")})
            self._dispatch.publish(changed)
            if any(c.state == "cancelling" for c in changed):
                await self._dispatch.push_cancels()
            if len(ids) < _AT_ONCE or not changed:
                return done

    async def check_own(self, bearer: Bearer, number: int) -> contract.Task:
        """A task that this bearer may change.

        Raises:
            NotFoundError, NotAllowedError: there is none, or it is somebody else's.
        """
        access.demand(bearer, Action.CHANGE_OWN)
        task = await self.task(number)
        if task.user != bearer.user:
            access.demand(bearer, Action.CHANGE_ALL)
        return task

    async def rerun(self, bearer: Bearer, number: int, key: str = "") -> contract.Submitted:
        """Submit the same once more, as a task of its own.

        Raises:
            NotFoundError: there is no such task.
        """
        access.demand(bearer, Action.SUBMIT)
        detail = await self.detail(number)
        return await self.submit(bearer, [detail.request], key)

    async def output(self, number: int, name: str, attempt: int, start: int, most: int) -> bytes:
        """A part of a stream or a kept file; attempt 0 is the last.

        Raises:
            NotFoundError: there is no such task or attempt.
        """
        await self.task(number)

        def work(connection: sa.Connection) -> bytes:
            which = attempt or outputs.last_attempt(connection, number)
            if name not in contract.STREAMS and name not in outputs.names(connection, number, which):
                raise errors.NotFoundError(f"task {number} has no {name!r}")
            return outputs.read(connection, number, which, name, start, most)

        return await self._database.read(work)

    async def everything(self, number: int, attempt: int) -> bytes:
        """A zip archive of all that an attempt wrote."""
        await self.task(number)

        def work(connection: sa.Connection) -> dict[str, archive.File]:
            which = attempt or outputs.last_attempt(connection, number)
            return {
                name.removeprefix("file/") if name.startswith("file/") else f"{name}.txt": archive.File(
                    outputs.read(connection, number, which, name, 0, 1 << 30)
                )
                for name in outputs.names(connection, number, which)
            }

        files = await self._database.read(work)
        return await asyncio.to_thread(archive.pack, files)

    async def upload(self, bearer: Bearer, data: bytes) -> contract.Uploaded:
        """Keep an archive, after every check.

        Raises:
            ArchiveError: it is none, or not one that can be trusted.
        """
        access.demand(bearer, Action.SUBMIT)
        files = await asyncio.to_thread(archive.read, data)
        packed = await asyncio.to_thread(archive.pack, files)
        digest, now = archive.digest(packed), self._clock()
        await self._database.write(lambda c: people.put_archive(c, digest, packed, len(files), now))
        return contract.Uploaded(digest, len(files), sum(len(file.data) for file in files.values()))

    async def archive(self, digest: str) -> bytes:
        """An archive.

        Raises:
            NotFoundError: there is none of that digest.
        """
        found = await self._database.read(lambda c: people.archive(c, digest))
        if found is None:
            raise errors.NotFoundError(f"there is no archive {digest[:12]}")
        return found

    async def archive_files(self, digest: str) -> contract.ArchiveFiles:
        """The texts in an archive, up to a size.

        Raises:
            NotFoundError: there is none of that digest.
        """
        data = await self.archive(digest)
        files = await asyncio.to_thread(archive.read, data)
        texts: dict[str, str] = {}
        left = _MOST_TEXT
        for path, file in sorted(files.items()):
            if len(file.data) <= left and b"\0" not in file.data:
                with contextlib.suppress(UnicodeDecodeError):
                    texts[path] = file.data.decode()
                    left -= len(file.data)
        return contract.ArchiveFiles(texts, sorted(files.keys() - texts.keys()))


_MOST_TEXT: Final = 1 << 20
"""Bytes of an archive's texts that are shown."""
_STATES: Final = frozenset(state.value for state in TaskState)
_ENDS: Final = frozenset(state.value for state in TaskState if state.is_final) | {"deleted"}


def _own(query: contract.Query, bearer: Bearer) -> contract.Query:
    """The same query, of one's own tasks only."""
    if query.user not in (None, bearer.user):
        raise errors.NotAllowedError(f"a {bearer.role} may change only own tasks")
    return dataclasses.replace(query, user=bearer.user)


def _check_query(query: contract.Query) -> None:
    for state in query.states:
        if state not in _STATES:
            raise errors.InvalidRequestError(f"{state!r} is none of {', '.join(TaskState)}", "state")
    if len(query.ids) > _AT_ONCE:
        raise errors.InvalidRequestError(f"has more than {_AT_ONCE} numbers", "ids")
    for number in (*query.ids, *(() if query.array is None else (query.array,))):
        _sane(number)
    for text in (query.user, query.name, query.text, query.executor, *query.labels, *query.labels.values()):
        if text is not None and ("\0" in text or len(text) > 10_000 or not _is_unicode(text)):
            raise errors.InvalidRequestError("a text of the query makes no sense")


def _sane(number: int) -> int:
    """A number that a database can be asked for.

    Raises:
        NotFoundError: no task ever has it.
    """
    if not 0 < number < 1 << 62:
        raise errors.NotFoundError(f"there is no task {number}")
    return number


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
