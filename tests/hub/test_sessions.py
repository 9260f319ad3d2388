"""Nothing is given to an executor through a connection that is not its last one: it would never arrive."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from parcs import errors
from parcs.contract import executor as wire
from parcs.contract.tasks import TaskRequest
from parcs.hub.services.access import Bearer
from parcs.hub.services.changes import Changes
from parcs.hub.services.dispatch import Dispatch, Session
from parcs.hub.services.liveness import Liveness
from parcs.hub.services.work import Work
from parcs.hub.settings import HubSettings
from parcs.hub.store import executors, leases, migrate, schema
from parcs.hub.store.database import Database

HELLO = wire.Hello(wire.PROTOCOL, "v", "e1", "e1", "h", 2, wire.Offer(["process"], {}, 1, 1 << 30), [])
SOMEBODY = Bearer(1, "somebody", "member", "user")


class Place:
    """A hub's dispatch, and what was sent to its executors."""

    def __init__(self, store: Database) -> None:
        self.store = store
        changes, settings = Changes(), HubSettings(database="sqlite://")
        self.dispatch = Dispatch(store, changes, settings, lambda: 100.0)
        self.liveness = Liveness(store, self.dispatch, changes, settings, lambda: 100.0)
        self.work = Work(store, self.dispatch, changes, settings, lambda: 100.0)
        self.closed: list[Session] = []
        self.sent: list[wire.FromHub] = []

    async def come(self, *held: tuple[int, int], more: int = 2) -> Session:
        """The executor connects here, and says what it has."""
        hello = wire.Hello(*[getattr(HELLO, name) for name in HELLO.__struct_fields__[:-1]], list(held))
        session = await self.dispatch.open(hello, 1, self.sent.append)
        session.close = lambda: self.closed.append(session)
        await self.dispatch.take(session, wire.Ready(more, 0))
        return session

    def given(self) -> list[int]:
        """The tasks that were sent."""
        return [lease.task for each in self.sent if isinstance(each, wire.Leases) for lease in each.leases]

    async def submit(self, command: str = "true") -> int:
        """Add a task."""
        return (await self.work.submit(SOMEBODY, [TaskRequest(command=command)])).first

    async def state(self, number: int) -> tuple[str, str | None]:
        """A task's state and executor."""
        row = (await self.store.read(lambda c: c.execute(_STATE.where(schema.tasks.c.id == number)))).one()
        return row.state, row.executor


_STATE = sa.select(schema.tasks.c.state, schema.tasks.c.executor)


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/hub.db" if database == "sqlite" else database)
    migrate.upgrade(made.engine)
    yield made
    made.close()


@pytest.fixture
def places(store: Database) -> tuple[Place, Place]:
    """Two hubs of one database, which know what tasks demand."""
    made = Place(store), Place(store)

    async def learn() -> None:
        number = await made[0].submit()
        await store.write(lambda c: leases.cancel(c, [number], 100.0))
        for each in made:
            await each.dispatch._learn_demands()

    asyncio.run(learn())
    return made


def test_a_hub_that_was_left_gives_nothing(places: tuple[Place, Place]) -> None:
    one, other = places

    async def run() -> None:
        await one.come()
        await other.come()  # the first hub has not noticed yet
        number = await one.submit()
        assert await one.state(number) == ("queued", None)
        assert one.given() == []
        await other.dispatch._give_out(is_net=False)
        assert other.given() == [number]
        assert await one.state(number) == ("running", "e1")

    asyncio.run(run())


def test_results_by_an_old_connection_count_and_bring_nothing_new(places: tuple[Place, Place]) -> None:
    one, other = places

    async def run() -> None:
        session = await one.come()
        first = await one.submit()
        assert one.given() == [first]
        await other.come((first, 1), more=0)
        second = await one.submit()
        await one.dispatch.take(session, wire.Results([wire.Result(first, 1, "succeeded", "")], 2, 1))
        assert (await one.state(first))[0] == "succeeded"
        assert await one.state(second) == ("queued", None)
        assert one.given() == [first]

    asyncio.run(run())


def test_what_is_given_to_who_leaves_is_for_others(places: tuple[Place, Place]) -> None:
    one, _ = places

    async def run() -> None:
        session = await one.come()
        number = await one.submit()
        assert (await one.state(number))[0] == "running"
        await one.dispatch.close(session, is_leaving=True)  # that lease crossed its good-bye
        assert await one.state(number) == ("queued", None)
        await one.dispatch._give_out(is_net=False)
        session.more = 2
        assert session.free() == 0

    asyncio.run(run())


def test_who_went_silent_is_given_nothing(places: tuple[Place, Place]) -> None:
    one, other = places

    async def run() -> None:
        await one.come()
        late = other.liveness
        late._clock, late._steady_since, late._looked = (lambda: 1e6), -1e6, float("inf")
        await late.reap()
        number = await one.submit()
        assert await one.state(number) == ("queued", None)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["specs", "commit", "cancelled"])
def test_whoever_was_not_told_comes_again(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The tasks are committed as its own, and what is to tell it so fails."""
    one, _ = places

    def broken(*_: object) -> dict[int, str]:
        raise errors.DatabaseUnavailableError("gone")

    async def commits_and_fails(work: Callable[[sa.Connection], object]) -> object:
        await one.store.write(work)
        raise asyncio.CancelledError if how == "cancelled" else errors.DatabaseUnavailableError("who knows")

    async def run() -> None:
        session = await one.come()
        with monkeypatch.context() as patch:
            if how == "specs":
                patch.setattr("parcs.hub.store.specs.spec_bodies", broken)
                await one.submit()  # it is acknowledged all the same
            else:
                patch.setattr(one.dispatch, "_database", _Writes(one.store, commits_and_fails))
                patch.setattr(one.work, "_database", _Writes(one.store, commits_and_fails))
                with pytest.raises((errors.DatabaseUnavailableError, asyncio.CancelledError)):
                    await one.submit()
        held = await one.store.read(lambda c: leases.held(c, "e1"))
        assert len(held) == 1
        assert one.given() == []
        assert one.closed == [session]
        assert session.reserved == 0
        await one.come()
        number = next(iter(held))[0]
        assert await one.state(number) == ("queued", None)
        await one.dispatch._give_out(is_net=False)
        assert one.given() == [number]

    asyncio.run(run())


class _Writes:
    """A database whose writes go through a function."""

    def __init__(self, store: Database, write: Callable[..., object]) -> None:
        self.read, self.glance, self.write = store.read, store.glance, write


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite has one thread that writes
def test_who_comes_back_waits_for_what_is_given_just_now(store: Database) -> None:
    """However long its commit takes: of what was given until then all can be seen, and later nothing is given."""
    _, number = store.run_now(lambda c: executors.register(c, HELLO, 1, 100.0, 115.0))
    order: list[str] = []

    def come_back() -> None:
        assert store.run_now(lambda c: executors.register(c, HELLO, 1, 100.0, 115.0))[1] == number + 1
        order.append("back")

    with store.engine.begin() as connection:
        assert executors.hold_sessions(connection, {"e1": number, "e2": 1}) == {"e1"}
        thread = threading.Thread(target=come_back)
        thread.start()
        thread.join(0.5)
        store.run_now(lambda c: executors.beat(c, [executors.Beat("e2", 0, 0, 0)], 101.0, 116.0))
        order.append("given")
    thread.join(10)
    assert order == ["given", "back"]
    assert store.run_now(lambda c: executors.hold_sessions(c, {"e1": number})) == set()


def test_a_late_greeting_at_another_hub_is_no_end(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor had left that hub long before it answered: the one that has it has it come again."""
    one, other = places
    monkeypatch.setattr("parcs.hub.store.people.is_valid_token", lambda *_: True)

    async def run() -> None:
        session = await one.come()
        await one.liveness.look_at_states()
        assert one.closed == []
        await other.dispatch.open(HELLO, 1, other.sent.append)
        await one.liveness.look_at_states()
        assert one.closed == [session]
        again = await one.come()
        await one.liveness.look_at_states()
        assert again not in one.closed
        number = await one.submit()
        assert one.given() == [number]

    asyncio.run(run())


def test_an_old_session_says_nothing_of_the_new_one(places: tuple[Place, Place]) -> None:
    one, _ = places

    async def run() -> None:
        await one.come()
        reserved = one.dispatch.reserve(10)
        async with one.dispatch.giving(reserved):
            await one.come()  # while a transaction is under way
        number = await one.submit()
        assert one.given() == [number]

    asyncio.run(run())


def test_a_write_that_is_cancelled_stops_no_other(store: Database) -> None:
    async def run() -> None:
        for _ in range(20):
            begun = threading.Event()

            def slow(connection: sa.Connection, begun: threading.Event = begun) -> None:
                begun.set()
                time.sleep(0.02)

            writing = asyncio.create_task(store.write(slow))
            waiting = asyncio.create_task(store.write(lambda c: None))
            await asyncio.to_thread(begun.wait, 5)
            writing.cancel()
            waiting.cancel()
            await asyncio.wait({writing, waiting})
        assert await asyncio.wait_for(store.write(lambda c: c.scalar(sa.text("SELECT 7"))), 5) == 7

    asyncio.run(run())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_hub_that_stands_still_keeps_no_other_executor_alive(store: Database) -> None:
    for id_ in ("e1", "e2"):
        hello = msgspec.structs.replace(HELLO, id=id_)
        store.run_now(lambda c, hello=hello: executors.register(c, hello, 1, 100.0, 115.0))
    with store.engine.begin() as connection:
        executors.hold_sessions(connection, {"e1": 1})
        assert store.run_now(lambda c: executors.expired(c, 200.0, 15.0)) == ["e2"]
    assert store.run_now(lambda c: executors.expired(c, 200.0, 15.0)) == ["e1"]


@pytest.mark.parametrize("state", ["disabled", "draining", "active"])
def test_what_an_admin_decided_outlives_a_silence(store: Database, state: str) -> None:
    store.run_now(lambda c: executors.register(c, HELLO, 1, 100.0, 115.0))
    assert store.run_now(lambda c: executors.set_state(c, "e1", state))
    assert store.run_now(lambda c: executors.expired(c, 200.0, 15.0)) == ["e1"]
    assert store.run_now(lambda c: executors.register(c, HELLO, 1, 300.0, 315.0))[0] == state
    store.run_now(lambda c: executors.leave(c, "e1"))
    started_again = "disabled" if state == "disabled" else "active"
    assert store.run_now(lambda c: executors.register(c, HELLO, 1, 400.0, 415.0))[0] == started_again


def test_one_that_is_gone_can_be_enabled(store: Database) -> None:
    store.run_now(lambda c: executors.register(c, HELLO, 1, 100.0, 115.0))
    store.run_now(lambda c: executors.set_state(c, "e1", "disabled"))
    store.run_now(lambda c: executors.leave(c, "e1"))
    store.run_now(lambda c: executors.leave(c, "e1"))
    assert store.run_now(lambda c: executors.set_state(c, "e1", "active"))
    assert store.run_now(lambda c: executors.register(c, HELLO, 1, 300.0, 315.0))[0] == "active"
    assert not store.run_now(lambda c: executors.set_state(c, "e2", "active"))


@pytest.mark.parametrize("state", ["gone mad", "running"])
def test_a_result_that_cannot_be_kept_harms_no_other(places: tuple[Place, Place], state: str) -> None:
    one, _ = places

    async def run() -> None:
        session = await one.come(more=2)
        good, bad = await one.submit(), await one.submit()
        results = [
            wire.Result(bad, 1, state, "", files={"a name with \0 in it": b"that PostgreSQL does not take"}),
            wire.Result(good, 1, "succeeded", ""),
        ]
        await one.dispatch.take(session, wire.Results(results, 2, 2))
        assert (await one.state(good))[0] == "succeeded"
        assert (await one.state(bad))[0] == "failed"
        told = [each.attempts for each in one.sent if isinstance(each, wire.Ack)]
        assert told == [[(bad, 1), (good, 1)]]
        third = await one.submit()
        assert one.given() == [good, bad, third]

    asyncio.run(run())
