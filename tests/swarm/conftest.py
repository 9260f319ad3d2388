"""A real Swarm for these tests: a lab of Docker Engines, and PARCS's engine server on it.

Without root or Docker they are skipped at home, with the reason; in CI they fail. PARCS_TEST_LAB names a lab that
is up already, to try again quickly.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import wait_until

from parcs import errors
from parcs.dockerapi import nodes, services
from parcs.dockerapi.client import Docker
from parcs.engine.remote import RemoteEngine
from parcs.lab import Lab, Plan, system
from parcs.lab.node import Node
from parcs.model.settings import Settings
from parcs.swarm import deploy, names
from parcs.swarm.remote import Remote

ROOT = Path(__file__).parents[2]


class Cluster:
    """A lab with an engine server, and how tests use it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.environment = {
            **os.environ,
            "DOCKER_HOST": lab.nodes[0].url,
            "PARCS_REGISTRY": lab.registry,
            "PYTHONUNBUFFERED": "1",
        }
        if lab.plan.password:
            self.environment["DOCKER_CONFIG"] = str(lab.docker_config)
        for name in ("PARCS_ENGINE", "PARCS_TOKEN", "LEADER_URL"):
            self.environment.pop(name, None)

    def use(self, manager: str) -> None:
        """Ask this manager from now on."""
        self.environment["DOCKER_HOST"] = self.lab.node(manager).url

    @property
    def docker(self) -> Docker:
        """A manager's Docker Engine."""
        return Docker(self.lab.url)

    @property
    def url(self) -> str:
        """The engine, as programs outside name it."""
        return f"swarm+{self.lab.url}"

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a parcs command."""
        command = [sys.executable, "-m", "parcs", *words]
        return subprocess.Popen(
            command, cwd=ROOT / "examples", env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def parcs(self, *words: str, code: int = 0, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a parcs command to its end, and see that it ended with ``code``."""
        process = self.start(*words)
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str) -> Any:
        """What a parcs command prints with --json."""
        return json.loads(self.parcs(*words, "--json").stdout)

    def run(self, module: str, code: int = 0, **parameters: Any) -> Any:
        """Run a module as a job; gives its JSON."""
        given = [word for name, value in parameters.items() for word in ("-e", f"{name}={value}")]
        return json.loads(self.parcs("run", module, *given, "--on", "swarm", "--json", code=code).stdout)

    def detach(self, module: str, **parameters: Any) -> str:
        """Start a module as a job; gives the job's name."""
        given = [word for name, value in parameters.items() for word in ("-e", f"{name}={value}")]
        return self.parcs("run", module, *given, "--on", "swarm", "--detach").stdout.strip()

    def engine(self) -> RemoteEngine:
        """An engine for this test itself, outside the cluster."""
        import parcs

        return parcs.connect(self.url)  # type: ignore[no-any-return, attr-defined]

    def remote(self) -> Remote:
        """A session as an operator."""
        service = deploy.find(self.docker)
        assert service is not None
        return Remote(deploy.access(self.docker, service), Settings())

    def services_of_jobs(self) -> list[str]:
        """Every service of any job."""
        found = services.find(self.docker, names.JOB)
        return [s.name for s in found if s.labels.get(names.OWNER) != names.OWNER_WARM]

    def log(self) -> str:
        """What the engine server printed."""
        return subprocess.run(
            ["docker", "--host", self.lab.url, "service", "logs", names.ENGINE],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        ).stdout  # fmt: skip

    def wait_clean(self, timeout_s: float = 15.0) -> None:
        """Wait until no service of any job is left."""
        wait_until(lambda: not self.services_of_jobs(), "services of jobs are gone", timeout_s)

    def wait_whole(self) -> None:
        """Wait until every node is ready, and containers on each reach the engine server."""
        look = f"import socket; socket.create_connection(('{names.ENGINE}', {names.INSIDE_PORT}), 2).close()"
        base = f"{self.lab.registry}/python:3-slim"

        def reaches(node: Node) -> bool:
            command = ["docker", "--host", node.url, "run", "--rm", "--network", names.NETWORK, base]
            done = subprocess.run([*command, "python3", "-c", look], capture_output=True, check=False)
            return done.returncode == 0

        for node in self.lab.nodes:
            wait_until(lambda n=node: reaches(n), f"{node.name} reaches the engine server", 120)
        wait_until(lambda: all(n.state == "ready" for n in nodes.find(self.docker)), "nodes are ready", 60)

    def container_of(self, job: str, point: str) -> tuple[str, str]:
        """The container of a point and its node's Docker URL."""
        with self.remote() as remote:
            row = next(r for r in remote.ps(job)["rows"] if r["name"] == point)
        node = self.lab.node(row["node"])
        slot = re.search(r"(\d+)$", point)
        text = node.docker("ps", "--format", "{{.ID}} {{.Names}}")
        lines = [line.split() for line in text.splitlines() if job in line]
        if point == "runner":
            wanted = [identity for identity, name in lines if f"{job}.1." in name]
        else:
            assert slot is not None
            wanted = [identity for identity, name in lines if f".{slot[1]}." in name and f"{job}-" in name]
        return wanted[0], node.url


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three nodes, one a manager, each with two pretended GPUs."""
    known = os.environ.get("PARCS_TEST_LAB")
    yield from [Lab.find(known)] if known else new_lab("t", Plan(nodes=3, managers=1, gpus=2))


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Cluster:
    """The lab with an engine server of this very source."""
    made = Cluster(lab)
    deploy.up(made.docker, print, lab.registry)
    return made


def new_lab(letter: str, plan: Plan) -> Iterator[Lab]:
    """A lab of the tests' own, taken down at the end."""
    try:
        system.check()
    except errors.LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    made = Lab.up(f"{letter}{os.getpid() % 1_000_000}", plan, print)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., Path]:
    """Make a module of one or two programs."""

    def make(name: str, service: str = "", runner: str = "", more: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = [f'name = "{name}"', 'language = "python"']
        for kind, key, text in (("service", "command", service), ("runner", "runner", runner)):
            if text:
                (folder / f"{kind}.py").write_text(text)
                lines.append(f'{key} = "python {kind}.py"')
        (folder / "parcs.toml").write_text("\n".join([*lines, more]) + "\n")
        return folder

    return make


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test, every service of its jobs is gone by itself."""
    yield
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.wait_clean()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a lab waits for the lab, and on a fresh machine for its base image."""
    for item in items:
        if "swarm" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))
