"""Hubs and executors on a real Swarm: deployed, upgraded one by one while work goes on, scaled down, removed."""

from __future__ import annotations

import concurrent.futures
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.conftest import wait_until
from tests.hub.conftest import PostgreSQL
from tests.swarm.conftest import Cluster, new_lab

from parcs.client import Hub
from parcs.dockerapi import services
from parcs.lab import Lab, Plan
from parcs.swarm import names

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def place() -> Iterator[Cluster]:
    """Three managers: a hub on each."""
    import os

    known = os.environ.get("PARCS_TEST_MANAGERS")
    for lab in [Lab.find(known)] if known else new_lab("d", Plan(nodes=3, managers=3)):
        yield Cluster(lab)


@pytest.fixture(scope="module")
def database(place: Cluster) -> Iterator[PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="parcs-test-"))
    server = PostgreSQL(folder / "server", f"{place.lab.network.prefix}.1")
    server.start()
    yield server
    server.stop()


def test_a_cluster_of_hubs(place: Cluster, database: PostgreSQL, tmp_path: Path) -> None:
    place.parcs("deploy", "--on", "swarm", code=2)
    dsn = database.database().replace("127.0.0.1", f"{place.lab.network.prefix}.1")
    (tmp_path / "dsn").write_text(dsn)
    done = place.parcs(
        "deploy", "--on", "swarm", "--database-file", str(tmp_path / "dsn"), "--slots", "1", "--manage-swarm",
        timeout_s=200,
    )  # fmt: skip
    urls = re.search(r"^hubs: (\S+)$", done.stdout, re.M)
    token = re.search(r"^token: (\S+)$", done.stdout, re.M)
    assert urls is not None
    assert token is not None
    assert len(urls[1].split(",")) == 3
    with Hub(urls[1], token[1], budget_s=60) as hub:
        wait_until(lambda: sum(e.state == "active" for e in hub.executors()) == 3, "executors are there", 60)
        assert len(hub.hubs()) == 3
        assert {hub.run("hostname").attempts[0].state for _ in range(6)} == {"succeeded"}
        hubs_show_their_swarm(urls[1].split(","), token[1])
        work_goes_on_while_all_is_replaced(place, hub)
        an_executor_that_goes_finishes_what_it_runs(place, hub)
    parts = place.json("deploy", "--on", "swarm", "--status")
    assert sorted(part["service"] for part in parts) == ["parcs-executor"] + ["parcs-hub"] * 3
    place.parcs("undeploy", "--on", "swarm", timeout_s=100)
    assert place.json("deploy", "--on", "swarm", "--status") == []
    assert services.find(place.docker, f"{names.KIND}=hub") == []
    assert "there were none" in place.parcs("undeploy", "--on", "swarm").stdout


def hubs_show_their_swarm(urls: list[str], token: str) -> None:
    """Each by its own manager's Engine; and by the engine server that was put there with them, jobs."""
    for url in urls:
        with httpx2.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}) as asked:
            assert asked.get("/about").json()["cluster"] is True
            assert len(asked.get("/cluster").json()["nodes"]) == 3
            assert asked.get("/jobs").json() == []


def work_goes_on_while_all_is_replaced(place: Cluster, hub: Hub) -> None:
    """As an upgrade does. No request fails, and no task is run twice."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        deploying = pool.submit(place.parcs, "deploy", "--on", "swarm", "--restart", timeout_s=250)
        numbers = []
        while not deploying.done():
            numbers.append(hub.submit("sleep 0.2").first)
            time.sleep(0.3)
        deploying.result()
    assert len(numbers) > 20
    runs = [[attempt.state for attempt in hub.wait(number, 120).attempts] for number in numbers]
    assert set(map(tuple, runs)) == {("succeeded",)}


def an_executor_that_goes_finishes_what_it_runs(place: Cluster, hub: Hub) -> None:
    wait_until(lambda: sum(e.state == "active" for e in hub.executors()) == 3, "executors are there", 60)
    numbers = [hub.submit("sleep 8; echo done").first for _ in range(3)]
    wait_until(lambda: all(hub.task(n).task.state == "running" for n in numbers), "they run", 20)
    place.parcs("deploy", "--on", "swarm", "--executors", "1", timeout_s=200)
    assert [hub.output(n) for n in numbers if hub.wait(n, 60)] == ["done\n"] * 3
    assert [len(hub.task(n).attempts) for n in numbers] == [1, 1, 1]
    wait_until(lambda: sum(e.state == "active" for e in hub.executors()) == 1, "one is left", 30)
