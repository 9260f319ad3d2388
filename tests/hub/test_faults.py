"""What is promised when things break: nothing acknowledged is missing, nothing runs twice to a result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect

from parcs import errors
from parcs.client import Hub
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.model.task import TaskState
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess, PostgreSQL, ended, processes_with

Make = Callable[..., HubProcess]


def check_invariants(hub: HubProcess) -> None:
    """The store's own, when the hub has stopped."""
    from parcs.hub.store import tasks
    from parcs.hub.store.database import Database

    database = Database(f"sqlite:///{hub.folder / 'hub.db'}" if hub.database == "sqlite" else hub.database)
    try:
        database.run_now(tasks.check_invariants)
    finally:
        database.close()


def test_a_killed_executors_task_runs_elsewhere(make_hub: Make, database: str) -> None:
    hub = make_hub(database, PARCS_HUB_LEASE_S="2", PARCS_HUB_HEARTBEAT_S="0.5")
    first = hub.executor(slots=1)
    with hub.client() as client:
        number = client.submit("test $PARCS_ATTEMPT = 2 || sh -c 'sleep 60.5; true'; echo done").first
        wait_until(lambda: client.task(number).task.state == "running", "it runs")
        hub.executor(slots=1)
        (left,) = processes_with("60.5")
        first.kill()
        first.wait()
        wait_until(lambda: not Path(f"/proc/{left}").exists(), "its task ends with it", 5)
        detail = client.wait(number, 20)
        assert (detail.task.state, [a.state for a in detail.attempts]) == ("succeeded", ["lost", "succeeded"])
        assert "went silent" in detail.attempts[0].why
        states = {e.name: e.state for e in client.executors()}
        assert sorted(states.values()) == ["active", "gone"]
    hub.stop()
    check_invariants(hub)


def test_a_task_whose_executors_all_die_is_lost(make_hub: Make) -> None:
    hub = make_hub(PARCS_HUB_LEASE_S="1", PARCS_HUB_HEARTBEAT_S="0.3")
    with hub.client() as client:
        number = client.submit("sleep 60").first
        for _ in range(3):
            executor = hub.executor(slots=1)
            wait_until(lambda: client.task(number).task.state == "running", "it runs", 20)
            executor.kill()
            executor.wait()
            wait_until(lambda: client.task(number).task.state != "running", "it is noticed", 20)
        assert client.task(number).task.state == "lost"
        assert "went silent for the 3. time" in client.explain(number)


def test_executors_that_live_keep_their_tasks(make_hub: Make, database: str) -> None:
    hub = make_hub(database, PARCS_HUB_LEASE_S="1.5", PARCS_HUB_HEARTBEAT_S="0.3")
    for _ in range(3):
        hub.executor(slots=1)
    with hub.client() as client:
        submitted = client.submit("sleep 4", array=[{"i": str(i)} for i in range(3)])
        for number in range(submitted.first, submitted.first + 3):
            assert len(client.wait(number, 20).attempts) == 1
        assert [e.state for e in client.executors()] == ["active"] * 3
    assert "WARNING" not in hub.log.read_text()


def test_a_late_result_is_refused(make_hub: Make, database: str) -> None:
    """An executor stood still for longer than its lease: others have its task.

    Its own result counts for nothing.
    """
    hub = make_hub(database, PARCS_HUB_LEASE_S="1.5", PARCS_HUB_HEARTBEAT_S="0.3")
    first = hub.executor(slots=1)
    with hub.client() as client:
        number = client.submit("sleep 0.5; echo $PARCS_ATTEMPT").first
        wait_until(lambda: client.task(number).task.state == "running", "it runs")
        first.send_signal(signal.SIGSTOP)
        wait_until(lambda: client.task(number).task.state == "queued", "it is taken away", 20)
        hub.executor(slots=1)
        assert client.wait(number, 20).task.state == "succeeded"
        first.send_signal(signal.SIGCONT)
        wait_until(lambda: sum(e.state == "active" for e in client.executors()) == 2, "it is back", 20)
        assert ended(client, "true").task.state == "succeeded"
        assert client.output(number) == "2\n"
        assert [a.state for a in client.task(number).attempts] == ["lost", "succeeded"]
    hub.stop()
    check_invariants(hub)


def test_a_hub_killed_at_any_moment_loses_nothing(make_hub: Make, database: str, tmp_path: Path) -> None:
    """Tasks run while the hub is killed again and again. What was acknowledged is there, and ran once."""
    hub = make_hub(database)
    hub.executor(slots=2)
    marks = tmp_path / "marks"
    marks.mkdir()
    numbers: list[int] = []
    is_over = False

    def submit() -> None:
        with hub.client(budget_s=30) as client:
            while not is_over:
                numbers.append(client.submit(f"echo x >> {marks}/$PARCS_TASK; sleep 0.02").first)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        submitting = [pool.submit(submit) for _ in range(3)]
        for i in range(5):
            time.sleep(0.4 + 0.1 * i)
            hub.kill()
            hub.start()
        is_over = True
        for each in submitting:
            each.result(40)
    with hub.client(budget_s=30) as client:
        wait_until(
            lambda: not any(client.counts()[s] for s in ("queued", "running", "compiling")),
            "all tasks end",
            40,
        )
        found = {task.id: task for task in client.tasks()}
        assert len(numbers) > 20
        assert len(set(numbers)) == len(numbers)
        assert set(numbers) <= found.keys()
        assert {task.state for task in found.values()} == {"succeeded"}
        again = [n for n in numbers if (marks / str(n)).read_text() != "x\n"]
        assert not again, f"ran more than once, with no executor lost: {again}"
    hub.stop()
    check_invariants(hub)


def test_results_are_kept_while_the_hub_is_away(make_hub: Make) -> None:
    hub = make_hub()
    hub.executor(slots=1)
    with hub.client(budget_s=30) as client:
        number = client.submit("echo before; sleep 1; echo after").first
        wait_until(lambda: client.task(number).attempts, "it runs")
        wait_until(lambda: client.output(number) == "before\n", "its first line is there")
        hub.kill()
        time.sleep(1.5)
        hub.start()
        assert client.wait(number, 20).task.state == "succeeded"
        assert client.output(number) == "before\nafter\n"
        assert len(client.task(number).attempts) == 1


def test_a_database_that_is_gone_for_a_while(make_hub: Make, postgresql: PostgreSQL) -> None:
    hub = make_hub(postgresql.database())
    hub.executor(slots=1)
    with hub.client(budget_s=30) as client:
        assert ended(client, "true").task.state == "succeeded"
        number = client.submit("sleep 1; echo through").first
        postgresql.stop()
        try:
            answer = httpx2.get(f"{hub.url}/readyz", timeout=20)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert httpx2.get(f"{hub.url}/healthz", timeout=20).is_success
            time.sleep(1.5)
        finally:
            postgresql.start()
        assert client.wait(number, 30).task.state == "succeeded"
        assert client.output(number) == "through\n"


def test_a_full_disk_refuses_and_loses_nothing(make_hub: Make, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        hub = HubProcess(small)
        hub.start()
        hub.executor(slots=1)
        with hub.client(budget_s=2) as client:
            kept = client.submit("echo kept").first
            assert client.wait(kept, 20).task.state == "succeeded"
            filler = small / "filler"
            with filler.open("wb", buffering=0) as target, contextlib.suppress(OSError):
                while True:
                    target.write(bytes(1 << 16))
            with pytest.raises(errors.HubUnavailableError, match="disk"):
                for _ in range(2000):
                    client.submit("echo " + "x" * 4000)
            filler.unlink()
            assert client.output(kept) == "kept\n"
            wait_until(lambda: ended(client, "echo", "again").task.state == "succeeded", "it goes on", 20)
        hub.stop()
        check_invariants(hub)
    finally:
        hub.stop()
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_drained_executor_finishes_and_takes_nothing_new(make_hub: Make) -> None:
    hub = make_hub()
    hub.executor(slots=1)
    with hub.client() as client:
        may_end = hub.folder / "may_end"
        running = client.submit(f"until [ -e {may_end} ]; do sleep 0.05; done").first
        wait_until(lambda: client.task(running).task.state == "running", "it runs")
        waiting = client.submit("true").first
        hub.parcs("executors", "drain", "e1")
        may_end.touch()
        assert client.wait(running, 20).task.state == "succeeded"
        assert "no executor is connected" in client.explain(waiting)
        hub.parcs("executors", "enable", "e1")
        assert client.wait(waiting, 20).task.state == "succeeded"


def test_an_executor_told_to_end_finishes_what_it_has(make_hub: Make) -> None:
    hub = make_hub()
    executor = hub.executor(slots=1)
    with hub.client() as client:
        running = client.submit("sleep 1; echo end").first
        wait_until(lambda: client.task(running).task.state == "running", "it runs")
        executor.send_signal(signal.SIGTERM)
        assert executor.wait(20) == 0
        assert client.task(running).task.state == "succeeded"
        assert [e.state for e in client.executors()] == ["gone"]


def test_a_revoked_executor_is_shut_out(make_hub: Make) -> None:
    hub = make_hub()
    hub.parcs("token", "add", "--kind", "executor", "mine")
    hub.executor(slots=1)
    with hub.client() as client:
        tokens = {line.split()[0] for line in hub.parcs("token", "ls").splitlines() if "executor" in line}
        for number in tokens:
            hub.parcs("token", "revoke", number)
        number = client.submit("true").first
        wait_until(lambda: "does not know" in (hub.folder / "e1.log").read_text(), "it is told", 20)
        assert client.task(number).task.state == "queued"


def test_two_executors_that_report_one_attempt(make_hub: Make) -> None:
    """A stranger with a good token claims somebody else's attempt."""
    hub = make_hub()
    hub.executor(slots=1)
    token = (hub.folder / "executor.token").read_text()

    async def claim(number: int) -> list[wire.FromHub]:
        url = f"ws://127.0.0.1:{hub.port}{wire.PATH}"
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
            offer = wire.Offer(["process"], {}, 1, 1 << 30)
            hello = wire.Hello(wire.PROTOCOL, "x", "stranger", "stranger", "h", 1, offer, [(number, 1)])
            await socket.send(wire.encode(hello))
            said = [wire.decode_from_hub(await socket.recv(decode=False))]
            result = wire.Result(number, 1, TaskState.SUCCEEDED, "", streams={"stdout": (0, b"forged")})
            await socket.send(wire.encode(wire.Results([result], 0)))
            said.append(wire.decode_from_hub(await socket.recv(decode=False)))
            return said

    with hub.client() as client:
        number = client.submit("sleep 1; echo true").first
        wait_until(lambda: client.task(number).task.state == "running", "it runs")
        welcome, ack = asyncio.run(claim(number))
        assert isinstance(welcome, wire.Welcome)
        assert welcome.dropped == [(number, 1)]
        assert isinstance(ack, wire.Ack)
        assert client.wait(number, 20).task.state == "succeeded"
        assert client.output(number) == "true\n"


def test_a_caller_that_talks_nonsense_disturbs_nobody(make_hub: Make) -> None:
    hub = make_hub()
    hub.executor(slots=1)
    token = (hub.folder / "executor.token").read_text()

    async def nonsense(data: bytes | str) -> None:
        url = f"ws://127.0.0.1:{hub.port}{wire.PATH}"
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
            await socket.send(data)
            await asyncio.wait_for(socket.wait_closed(), 15)

    for data in (b"\xff\xff", "text", wire.encode(wire.Ready(1)), b""):
        asyncio.run(nonsense(data))
    with hub.client() as client:
        assert ended(client, "true").task.state == "succeeded"


def test_a_large_request_is_refused(make_hub: Make) -> None:
    hub = make_hub(PARCS_HUB_REQUEST_BYTES=str(1 << 20))
    headers = {"Authorization": f"Bearer {hub.token}"}
    answer = httpx2.post(f"{hub.url}{contract.API}/archives", content=bytes(2 << 20), headers=headers)
    assert answer.status_code == 413

    def endless():  # type: ignore[no-untyped-def]
        for _ in range(64):
            yield bytes(1 << 16)

    answer = httpx2.post(f"{hub.url}{contract.API}/archives", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_a_client_with_no_hub_says_so(tmp_path: Path) -> None:
    with (
        Hub("http://127.0.0.1:9", "x", budget_s=0.5) as hub,
        pytest.raises(errors.HubUnavailableError, match="no hub answers"),
    ):
        hub.counts()
