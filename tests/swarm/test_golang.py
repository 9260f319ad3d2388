"""Programs in Go on the Swarm: images of a static program each, in every combination with Python's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import wait_until
from tests.swarm.conftest import Cluster

from parcs import errors
from parcs.module import golang

FACTS = [i for i in range(2, 12345) if 12345 % i == 0]

pytestmark = pytest.mark.timeout(300)  # Go may have to be compiled first


@pytest.mark.parametrize("module", ["factor-go", "factor"])
def test_a_go_runner_drives_points_of_both_languages(cluster: Cluster, module: str) -> None:
    found = cluster.run("factor-go", N=12345, P=3, MODULE=module)
    assert found["result"] == FACTS
    language = "go" if module == "factor-go" else "python"
    assert found["summary"]["languages"] == {language: 3}


def test_points_of_two_languages_work_together(cluster: Cluster) -> None:
    found = cluster.run("mixed", N=12345, P=4)
    assert found["result"] == FACTS
    assert found["summary"]["languages"] == {"python": 2, "go": 2}


def test_go_points_wait_warm(cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor-go")
    cluster.parcs("warm", "factor-go", "-n", "2")
    try:
        job = cluster.run("factor-go", N=12345, P=2)
        assert job["result"] == FACTS
        launchers = [row["launcher"] for row in cluster.json("ps", job["job"])["rows"]]
        assert launchers == ["runner", "warm", "warm"]
    finally:
        cluster.parcs("warm", "factor-go", "-n", "0")


def test_a_go_image_is_small(cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor-go")
    row = next(r for r in cluster.json("module", "ls") if r["name"] == "factor-go" and r["tag"] == "latest")
    assert row["language"] == "go"
    assert row["size"] < 10_000_000


BUILDER = """
FROM {base}
COPY go /usr/local/go
COPY modules /modules
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV GOPROXY=file:///modules GOTOOLCHAIN=local
"""


def test_a_machine_without_go_compiles_in_an_image_that_has_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for golang:1: this machine's Go and its modules, as build containers here reach no proxy."""
    example = Path(__file__).parents[2] / "examples" / "factor-go"
    go = golang.compiler()
    assert go is not None
    subprocess.run([go, "mod", "download"], cwd=example, check=True)
    root, modules = subprocess.run(
        [go, "env", "GOROOT", "GOMODCACHE"], cwd=example, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    left_out = shutil.ignore_patterns("test", "testdata", "api", "doc")
    shutil.copytree(root, tmp_path / "go", ignore=left_out, symlinks=True)
    shutil.copytree(Path(modules) / "cache" / "download", tmp_path / "modules")
    (tmp_path / "Dockerfile").write_text(BUILDER.format(base=f"{cluster.lab.registry}/python:3-slim"))
    docker = ["docker", "--host", cluster.lab.url]
    subprocess.run([*docker, "build", "-t", "go-builder", str(tmp_path)], check=True, capture_output=True)
    monkeypatch.setitem(cluster.environment, "PARCS_GO_BASE", "go-builder")
    pushed = cluster.parcs("module", "push", "factor-go")
    assert "building" in pushed.stderr
    row = next(r for r in cluster.json("module", "ls") if r["name"] == "factor-go" and r["tag"] == "latest")
    assert row["size"] < 10_000_000
    assert cluster.run("factor-go", N=12345, P=2)["result"] == FACTS


def test_an_error_of_a_go_point_reaches_a_python_runner_outside(cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor-go")
    with cluster.engine() as engine, engine.run("factor-go") as point:
        point.send("no number")
        with pytest.raises(errors.RemoteError, match=r"DecodeError: .* cannot unmarshal string"):
            point.recv(timeout=20)


def test_leader_url_alone_will_do(cluster: Cluster) -> None:
    """As the original's README runs a runner: a service, with the way to a Docker Engine and nothing of ours."""
    cluster.parcs("module", "push", "factor-go")
    image = f"{cluster.lab.registry}/factor-go:latest"
    docker = ["docker", "--host", cluster.lab.url]
    socket = "/var/run/docker.sock"
    create = [
        *docker, "service", "create", "--detach", "--quiet", "--name", "go-leader", "--network", "parcs",
        "--restart-condition", "none", "--endpoint-mode", "dnsrr", "--constraint", "node.role==manager",
        "--mount", f"type=bind,source={socket},target={socket}", "--env", f"LEADER_URL=unix://{socket}",
        "--env", "N=12345", "--env", "P=2", "--env", f"MODULE={image}", "--entrypoint", "/module/bin/runner", image,
    ]  # fmt: skip

    def log() -> str:
        done = subprocess.run(
            [*docker, "service", "logs", "go-leader"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    subprocess.run(create, check=True, capture_output=True)
    try:
        wait_until(lambda: "Bye!" in log(), "the runner has ended", 60)
        assert f"Result: [{' '.join(map(str, FACTS))}]" in log()
        left = subprocess.run(
            [*docker, "service", "ls", "--quiet"], capture_output=True, text=True, check=True
        )
        assert len(left.stdout.split()) == 3, (
            "its points' services are left over"
        )  # engine, presence, go-leader
    finally:
        subprocess.run([*docker, "service", "rm", "go-leader"], check=True, capture_output=True)
