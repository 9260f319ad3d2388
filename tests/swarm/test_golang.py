"""Programs in Go on the Swarm: images of a static program each, in every combination with Python's."""

from __future__ import annotations

import subprocess

import pytest
from tests.conftest import wait_until
from tests.swarm.conftest import Cluster

from parcs import errors

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
