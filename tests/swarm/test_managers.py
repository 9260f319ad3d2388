"""Three managers, and the leader dies; a registry that wants a password."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import wait_until
from tests.swarm.conftest import Cluster, new_lab

from parcs.dockerapi import nodes
from parcs.dockerapi.client import Docker
from parcs.lab import Lab, Plan
from parcs.swarm import deploy

Make = Callable[..., Path]

COUNTING = """
from parcs.server import Service, serve
class Counting(Service):
    def run(self):
        while True:
            self.send(self.recv() + 1)
serve(Counting())
"""

LONG = """
import time
from parcs.server import Runner, serve
class Long(Runner):
    def run(self):
        points = self.engine.run_all("counting", 3)
        print("up", flush=True)
        longest, end, count = 0.0, time.time() + 50, 0
        while time.time() < end:
            begin = time.time()
            for point in points:
                point.send(count)
            count = max(point.recv() for point in points)
            longest = max(longest, time.time() - begin)
            time.sleep(0.02)
        late = self.engine.run("counting")
        late.send(1)
        return [count > 100, longest, late.recv()]
serve(Long())
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Lab]:
    """Four nodes, three of them managers, and a registry with a password."""
    yield from new_lab("m", Plan(nodes=4, managers=3, password="open sesame"))


@pytest.fixture
def quorum(guarded: Lab, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """It with an engine server."""
    made = Cluster(guarded)
    monkeypatch.setenv("DOCKER_CONFIG", str(guarded.docker_config))
    deploy.up(made.docker, print, guarded.registry)
    return made


@pytest.mark.timeout(240)
def test_the_leader_is_killed_and_work_goes_on(quorum: Cluster, module: Make) -> None:
    folder = module("counting", COUNTING, LONG, more='[resources]\nconstraints = ["node.role==worker"]')
    done = quorum.parcs("module", "push", str(folder)).stdout
    assert quorum.lab.registry in done
    job = _detach_on_worker(quorum, folder)
    wait_until(lambda: "up" in quorum.parcs("logs", job).stdout, "the points are up", 60)
    engine_node = deploy.state(quorum.docker)
    assert engine_node is not None
    leader = next(node.name for node in nodes.find(quorum.docker) if node.is_leader)
    other = next(f"node{n}" for n in (1, 2, 3) if f"node{n}" != leader)
    quorum.lab.kill(leader)
    quorum.use(other)
    begin = time.monotonic()
    fresh = wait_until(lambda: _try_run(quorum), "a new job runs", 150)
    print(
        f"leader {leader} killed (the engine server ran on {engine_node.node}): "
        f"a new job had ended after {time.monotonic() - begin:.0f} s"
    )
    assert "result: [2, 4, 5, 10, 20, 25, 50]" in fresh
    row = wait_until(
        lambda: next((r for r in quorum.json("jobs") if r["job"] == job and r["result"]), None),
        "the job ends",
        90,
    )
    progressed, longest, late = row["result"]
    assert progressed
    assert late == 2
    assert longest < 5  # its points, on machines that live, never noticed
    quorum.lab.heal(leader)
    wait_until(
        lambda: all(n.state == "ready" for n in nodes.find(Docker(quorum.environment["DOCKER_HOST"]))),
        "ready",
        60,
    )


def _detach_on_worker(quorum: Cluster, folder: Path) -> str:
    """The runner too belongs on a machine that lives: the only worker."""
    with quorum.remote() as remote:
        image = f"{quorum.lab.registry}/{folder.name}"
        return str(remote.run(image, {}, {"constraints": ["node.role==worker"]})["job"])


def _try_run(quorum: Cluster) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "run", "factor", "-e", "N=100", "-e", "P=2", "--on", "swarm"],
        env=quorum.environment, cwd="examples", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    print(done.stderr)
    return done.stdout if done.returncode == 0 else ""
