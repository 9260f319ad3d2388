"""Tasks in containers, and jobs whose points run on the Swarm: a hub beside a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub.conftest import HubProcess, ended
from tests.swarm.conftest import Cluster

from parcs.client import Hub

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def near(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub and an executor that may use the first manager's Docker Engine."""
    names = {name: cluster.environment[name] for name in ("DOCKER_HOST", "PARCS_REGISTRY")}
    if "DOCKER_CONFIG" in cluster.environment:
        names["DOCKER_CONFIG"] = cluster.environment["DOCKER_CONFIG"]
    hub = HubProcess(tmp_path_factory.mktemp("hub"), **names)
    hub.start()
    hub.executor("--engine", "swarm")
    yield hub
    hub.stop()


@pytest.fixture
def hub(near: HubProcess) -> Iterator[Hub]:
    with near.client() as client:
        yield client


def containers(cluster: Cluster) -> list[str]:
    found = cluster.docker.get("/containers/json", all="true")
    return [name for each in found for name in each["Names"] if "parcs-task" in name]


def test_a_task_runs_in_a_container_of_its_own_image(cluster: Cluster, hub: Hub) -> None:
    image = f"{cluster.lab.registry}/python:3-slim"
    script = "cat given; echo made > made; echo $MINE; ls /.dockerenv; cat /proc/net/dev | wc -l"
    detail = ended(
        hub, "sh", "-c", script, image=image, files={"given": "file\n"}, outputs=["made"], environment={"MINE":
        "mine"}, limits={"network": False},
    )  # fmt: skip
    said = hub.output(detail.task.id).splitlines()
    assert (detail.task.state, said[0], said[1]) == ("succeeded", "file", "mine")
    assert said[-2:] == ["/.dockerenv", "3"]  # two lines of titles, and lo
    assert hub.data(detail.task.id, "file/made") == b"made\n"
    assert containers(cluster) == []


def test_limits_hold_in_a_container(cluster: Cluster, hub: Hub) -> None:
    image = f"{cluster.lab.registry}/python:3-slim"
    hog = ended(hub, "python3", "-c", "x = bytearray(300 << 20)", image=image, limits={"memory": 64 << 20})
    assert (hog.task.state, "out of memory" in hog.task.why) == ("failed", True)
    assert ended(hub, "sleep", "60", image=image, timeout_s=2).task.state == "timed_out"
    assert containers(cluster) == []
    missing = ended(hub, "true", image="no-such/image:x", timeout_s=30)
    assert missing.task.state == "failed"
    assert "no-such/image" in hub.explain(missing.task.id)


def test_a_jobs_points_run_on_the_swarm(cluster: Cluster, near: HubProcess, hub: Hub) -> None:
    examples = Path(__file__).parents[2] / "examples"
    said = near.parcs("run", "factor", "-e", "N=12345", "-e", "P=3", "--hub", "own", cwd=examples)
    assert said.startswith("result: [3, 5, 15")
    number = next(iter(hub.tasks(labels={"job": "factor"}))).id
    assert "node" in hub.output(number, "stderr")
    cluster.wait_clean()
