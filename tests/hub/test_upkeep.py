"""What the hub forgets, and when: with its rules in this process, and a clock that obeys."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parcs import errors
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.settings import HubSettings
from parcs.hub.state import Hub
from parcs.hub.store.clock import Clock
from parcs.hub.store.people import Bearer
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess, ended

ADMIN = Bearer(1, "admin", "admin", "api")
DAY_S = 86400.0


class ObedientClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def open_hub(folder: Path, clock: Clock, **settings: float) -> Hub:
    hub = Hub(HubSettings(f"sqlite:///{folder / 'hub.db'}", **settings), clock)  # type: ignore[arg-type]  # numbers
    hub.access.set_up()
    return hub


async def add(hub: Hub, count: int, *, is_over: bool) -> list[int]:
    requests = [contract.TaskRequest("true", files={"x": str(i)}, labels={"l": "v"}) for i in range(count)]
    first = (await hub.work.submit(ADMIN, requests)).first
    numbers = list(range(first, first + count))
    if is_over:
        await hub.work.cancel(ADMIN, contract.Query(ids=numbers))
    return numbers


def numbers_of(hub: Hub) -> list[int]:
    page = asyncio.run(hub.work.page(contract.Query(), cursor=None, limit=100, is_ascending=True))
    return [task.id for task in page.tasks]


def test_tasks_are_forgotten_by_age(tmp_path: Path) -> None:
    clock = ObedientClock()
    hub = open_hub(tmp_path, clock, keep_days=10)
    asyncio.run(add(hub, 3, is_over=True))
    waiting = asyncio.run(add(hub, 2, is_over=False))
    clock.now += 8 * DAY_S
    late = asyncio.run(add(hub, 2, is_over=True))
    clock.now += 3 * DAY_S
    asyncio.run(hub.upkeep.forget())
    assert numbers_of(hub) == waiting + late
    hub.database.close()


def test_tasks_are_forgotten_by_number(tmp_path: Path) -> None:
    hub = open_hub(tmp_path, Clock(), keep_days=0, keep_tasks=2)
    waiting = asyncio.run(add(hub, 1, is_over=False))
    over = asyncio.run(add(hub, 5, is_over=True))
    asyncio.run(hub.upkeep.forget())
    assert numbers_of(hub) == waiting + over[-2:]
    hub.database.close()


def test_a_token_ends_when_its_time_is_over(tmp_path: Path) -> None:
    clock = ObedientClock()
    hub = open_hub(tmp_path, clock)
    made = asyncio.run(hub.access.add_token(ADMIN, "admin", "short", "api", 60.0))
    assert asyncio.run(hub.access.bearer(made.secret)).user == "admin"
    clock.now += 61
    time.sleep(2.1)  # so long it is known
    with pytest.raises(errors.NotLoggedInError):
        asyncio.run(hub.access.bearer(made.secret))
    hub.database.close()


def test_a_database_that_somebody_else_holds(make_hub: Callable[..., HubProcess]) -> None:
    """SQLite's file is locked for some seconds: requests wait, executors live on, nothing is lost."""
    hub = make_hub()
    hub.executor(slots=1)
    with hub.client(budget_s=30) as client:
        running = client.submit("sleep 1; echo through").first
        other = sqlite3.connect(hub.folder / "hub.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(4.0, other.rollback).start()
        begin = time.monotonic()
        waited = client.submit("echo waited").first
        assert time.monotonic() - begin > 2.0
        assert client.wait(waited, 20).task.state == "succeeded"
        assert client.output(running) == "through\n"
        other.close()


def test_a_cancelled_task_that_is_given_back_is_kept(tmp_path: Path) -> None:
    """Its end had been the year 1970, and so it was forgotten within the minute."""
    clock = ObedientClock()
    hub = open_hub(tmp_path, clock, keep_days=10)
    (number,) = asyncio.run(add(hub, 1, is_over=False))
    hello = wire.Hello(wire.PROTOCOL, "v", "e", "e", "h", 1, wire.Offer(["process"], {}, 1, 1), [])

    async def scenario() -> None:
        sent: list[object] = []
        session = await hub.dispatch.open(hello, 1, sent.append)
        await hub.dispatch.take(session, wire.Ready(1))
        await hub.dispatch.know([])
        await hub.dispatch._learn_demands()
        await hub.dispatch._give_out(is_net=False)
        assert (await hub.work.task(number)).state == "running"
        assert await hub.work.cancel(ADMIN, contract.Query(ids=[number])) == 1
        await hub.dispatch.take(session, wire.Returned([(number, 1)]))
        await hub.upkeep.forget()
        task = await hub.work.task(number)
        assert (task.state, task.ended) == ("cancelled", clock.now)

    asyncio.run(scenario())
    hub.database.close()


def test_a_slot_is_given_one_task(tmp_path: Path) -> None:
    """Also while the result that freed it is being written down, and after it."""
    hub = open_hub(tmp_path, ObedientClock())
    numbers = asyncio.run(add(hub, 4, is_over=False))
    hello = wire.Hello(wire.PROTOCOL, "v", "e", "e", "h", 1, wire.Offer(["process"], {}, 1, 1), [])

    async def scenario() -> list[int]:
        sent: list[wire.FromHub] = []
        session = await hub.dispatch.open(hello, 1, sent.append)
        await hub.dispatch._learn_demands()
        await hub.dispatch.take(session, wire.Ready(1))
        await hub.dispatch._give_out(is_net=False)
        done = wire.Results([wire.Result(numbers[0], 1, "succeeded", "")], 1)
        await asyncio.gather(hub.dispatch.take(session, done), hub.dispatch._give_out(is_net=False))
        await hub.dispatch._give_out(is_net=False)
        return [
            lease.task for message in sent if isinstance(message, wire.Leases) for lease in message.leases
        ]

    assert asyncio.run(scenario()) == numbers[:2]
    hub.database.close()


def test_parcs_up_ends_with_its_executor_gone(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path)
    process = hub.run_parcs("up", "--data", str(tmp_path), "--port", str(hub.port), "-n", "1", log=hub.log)
    try:
        wait_until(
            lambda: "is connected" in (hub.log.read_text() if hub.log.exists() else ""), "it is up", 30
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(15) in (0, 130)
        assert "is gone" in hub.log.read_text()
        hub.start()
        with hub.client() as client:
            assert [executor.state for executor in client.executors()] == ["gone"]
    finally:
        hub.stop()


def test_a_full_disk_of_an_executor_is_said(make_hub: Callable[..., HubProcess], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    hub = make_hub()
    try:
        hub.executor("--folder", str(small), slots=1)
        with hub.client() as client:
            full = ended(client, "sh", "-c", "head -c 4000000 /dev/zero > file")
            assert "No space left" in client.explain(full.task.id)
            large = {"file": "x" * 3_000_000}
            detail = ended(client, "true", files=large)
            assert (detail.task.state, "No space left" in client.explain(detail.task.id)) == ("failed", True)
            assert ended(client, "echo", "well").task.state == "succeeded"
    finally:
        hub.stop()
        subprocess.run(["umount", "-l", str(small)], check=True)
