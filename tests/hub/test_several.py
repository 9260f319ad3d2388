"""Several hubs on one PostgreSQL: any of them does for anything, and what one does the others know."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from parcs import errors
from parcs.client import Hub
from parcs.hub.store import executors, migrate, people, tasks
from parcs.hub.store.clock import Clock
from parcs.hub.store.database import Database
from parcs.hub.store.executors import Beat
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess, PostgreSQL, ended

Make = Callable[..., HubProcess]


@pytest.fixture
def two(make_hub: Make, postgresql: PostgreSQL) -> list[HubProcess]:
    """Two hubs of one database, and an executor that knows both and is with the first."""
    url = postgresql.database()
    hubs = [make_hub(url, PARCS_HUB_LEASE_S="4", PARCS_HUB_HEARTBEAT_S="0.5") for _ in range(2)]
    hubs[0].executor("--hub", ",".join(hub.url for hub in hubs), slots=2)
    with hubs[0].client() as client:
        wait_until(lambda: len(client.hubs()) == 2, "they know of each other")
    return hubs


def both(hubs: list[HubProcess], *, first: int = 0) -> Hub:
    """A client that knows both; each hub keeps tokens of its own, which the database has."""
    client = Hub(",".join(hub.url for hub in hubs), hubs[0].token, budget_s=30)
    client._first = first
    return client


def test_what_one_hub_does_another_knows_at_once(two: list[HubProcess]) -> None:
    with both(two) as one, both(two, first=1) as other:
        assert "http://" in two[1].parcs("hubs")
        ended(other, "true")  # the first one, to have everything warm
        took = []
        for _ in range(5):  # submitted there, run by an executor that is here, waited for there
            begin = time.monotonic()
            assert other.run(["true"]).task.state == "succeeded"
            took.append(time.monotonic() - begin)
        assert min(took) < 0.5, f"news do not go from hub to hub: {took}"
        number = other.submit("sleep 60").first
        wait_until(lambda: one.task(number).task.state == "running", "it runs")
        begin = time.monotonic()
        assert other.cancel(number) == 1
        assert other.wait(number, 10).task.state == "cancelled"
        assert time.monotonic() - begin < 2.0


def test_work_goes_on_with_another_hub(two: list[HubProcess]) -> None:
    with both(two) as client:
        numbers = [client.submit("sleep 1; echo $PARCS_ATTEMPT").first for _ in range(4)]
        wait_until(lambda: client.task(numbers[0]).task.state == "running", "they run")
        two[0].kill()
        begin = time.monotonic()
        numbers.append(client.submit("echo $PARCS_ATTEMPT").first)
        assert time.monotonic() - begin < 5
        for number in numbers:
            runs = [attempt.state for attempt in client.wait(number, 30).attempts]
            assert runs == ["succeeded"], "the executor kept its tasks, and told another hub"
        wait_until(
            lambda: len([h for h in client.hubs() if time.time() - h.last_seen < 3]) == 1, "it is missed"
        )


def test_a_hub_that_stands_still_is_left(two: list[HubProcess]) -> None:
    process = two[0].process
    assert process is not None
    with both(two) as client:
        number = client.submit("sleep 2; echo $PARCS_ATTEMPT").first
        wait_until(lambda: client.task(number).task.state == "running", "it runs")
        process.send_signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert client.wait(number, 40).task.state == "succeeded"
            assert time.monotonic() - begin < 25
        finally:
            process.send_signal(signal.SIGCONT)
        assert ended(client, "true").task.state == "succeeded"
        # When it goes on, it takes nobody for dead who only could not reach it.
        time.sleep(6)
        assert [e.state for e in client.executors()] == ["active"]


def test_a_login_link_is_good_at_any_hub_and_once(two: list[HubProcess]) -> None:
    import httpx2

    link = two[0].log.read_text().partition("/#/login/")[2].split()[0]
    codes = [
        httpx2.post(f"{hub.url}/api/v1/login", json={"link": link}).status_code for hub in (two[1], two[0])
    ]
    assert codes == [200, 401]


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[Database]:
    made = Database(postgresql.database())
    migrate.upgrade(made.engine)
    yield made
    made.close()


def test_a_commit_with_a_warning_is_none(database: Database, postgresql: PostgreSQL) -> None:
    """Its wait for the standby is cancelled: PostgreSQL says COMMIT, and may forget it."""
    assert database.servers is not None
    admin = psycopg.connect(
        f"host=127.0.0.1 port={postgresql.port} user=parcs dbname=postgres", autocommit=True
    )
    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    admin.execute("SELECT pg_reload_conf()")
    try:
        wait_until(
            lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",), "it holds"
        )

        def cancel() -> None:
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            wait_until(lambda: admin.execute(waiting).fetchone(), "it waits for its standby", 10)
            admin.execute(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS w")

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(errors.DatabaseUnavailableError, match="did not keep it safely"):
            asyncio.run(database.write(lambda c: people.add_user(c, "u", "admin", None, 1.0)))
        thread.join()
    finally:
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        admin.execute("SELECT pg_reload_conf()")
        admin.close()


def test_a_server_that_stands_still_is_given_up(tmp_path: Path) -> None:
    """Nothing in PostgreSQL's own client would end the wait."""
    server = PostgreSQL(_open(tmp_path) / "server")
    server.start()

    async def scenario(database: Database) -> float:
        watching = asyncio.create_task(database.serve())
        await database.read(lambda c: c.execute(sa.text("SELECT 1")))
        process = server._process
        assert process is not None
        backend = await database.read(lambda c: c.scalar(sa.text("SELECT pg_backend_pid()")))
        import os

        os.kill(backend, signal.SIGSTOP)
        process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        try:
            with pytest.raises(errors.DatabaseUnavailableError):
                await database.read(lambda c: c.execute(sa.text("SELECT 1")))
        finally:
            os.kill(backend, signal.SIGCONT)
            process.send_signal(signal.SIGCONT)
        took = time.monotonic() - begin
        await database.read(lambda c: c.execute(sa.text("SELECT 1")))  # and well again
        watching.cancel()
        return took

    database = Database(server.database())
    try:
        assert asyncio.run(scenario(database)) < 25
    finally:
        database.close()
        server.stop()


def _open(folder: Path) -> Path:
    """A folder that a server of another user comes through."""
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o711)
    return folder


def test_the_numbers_of_submissions_follow_one_another(database: Database) -> None:
    found: list[tuple[int, int]] = []

    def run(count: int) -> None:
        for _ in range(50):
            found.append((database.run_now(lambda c: tasks._next_ids(c, count)), count))

    threads = [threading.Thread(target=run, args=(count,)) for count in (1, 7, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [number for first, count in found for number in range(first, first + count)]
    assert len(set(numbers)) == len(numbers) == 600


def test_a_clock_follows_the_databases_and_says_when_it_jumps() -> None:
    steady = [100.0]
    clock = Clock(lambda: steady[0])
    begun = clock.jumped
    clock.set(5000.0, 100.0)
    assert clock() == 5000.0
    steady[0] = 110.0
    clock.set(5010.3, 110.0)
    assert (clock(), clock.jumped) == (pytest.approx(5010.3), 100.0)
    steady[0] = 120.0
    clock.set(4000.0, 120.0)
    assert (clock(), clock.jumped) == (4000.0, 120.0)
    assert begun <= 120.0


def test_leases_of_a_clock_that_was_ahead_end(database: Database) -> None:
    from parcs.contract import executor as wire

    hello = wire.Hello(wire.PROTOCOL, "v", "e1", "e1", "h", 1, wire.Offer(["process"], {}, 1, 1), [])
    database.run_now(lambda c: executors.register(c, hello, 1, 1e6, 1e6 + 15))
    assert database.run_now(lambda c: executors.expired(c, 1e6 + 1, 15)) == []
    assert database.run_now(lambda c: executors.expired(c, 1e6 - 3600, 15)) == ["e1"]
    database.run_now(lambda c: executors.register(c, hello, 1, 5.0, 20.0))
    database.run_now(lambda c: executors.beat(c, [Beat("e1", 0, 0, 0)], 6.0, 21.0))
    assert database.run_now(lambda c: executors.expired(c, 20.5, 15)) == []
    assert database.run_now(lambda c: executors.expired(c, 21.5, 15)) == ["e1"]
