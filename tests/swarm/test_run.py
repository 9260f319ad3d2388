"""parcs run --on swarm, and what one does with jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import wait_until
from tests.swarm.conftest import ROOT, Cluster

Make = Callable[..., Path]


def test_the_same_program_runs_on_the_swarm(cluster: Cluster) -> None:
    done = cluster.parcs("run", "factor", "-e", "N=1000", "-e", "P=3", "--on", "swarm")
    facts = [i for i in range(2, 1000) if 1000 % i == 0]
    assert f"result: {json.dumps(facts)}" in done.stdout
    assert "3 points" in done.stderr
    assert "runner@node" in done.stdout + done.stderr
    assert "factor-1@node" in done.stdout + done.stderr


def test_points_start_points_and_talk_to_each_other_across_nodes(cluster: Cluster) -> None:
    tree = cluster.run("tree", DEPTH=1, FANOUT=3)
    assert tree["exit_code"] == 0
    heat = cluster.run("heat")
    assert heat["exit_code"] == 0


def test_a_docker_context_names_the_swarm(cluster: Cluster, tmp_path: Path) -> None:
    settings = ["--config", str(tmp_path)]
    first = cluster.lab.nodes[0]
    first.docker(*settings, "context", "create", "work", "--docker", f"host={first.url}")
    cluster.environment["DOCKER_CONFIG"] = str(tmp_path)
    host = cluster.environment.pop("DOCKER_HOST")
    try:
        assert "running" in cluster.parcs("engine", "status", "--on", "swarm://work").stdout
        done = cluster.parcs("run", "factor", "-e", "N=10", "-e", "P=1", "--on", "swarm://work")
        assert "result: [2, 5]" in done.stdout
        assert "no Docker context 'play'" in cluster.parcs("jobs", "--on", "swarm://play", code=2).stderr
    finally:
        cluster.environment["DOCKER_HOST"] = host
        del cluster.environment["DOCKER_CONFIG"]


def test_a_job_is_detached_watched_listed_and_removed(cluster: Cluster) -> None:
    job = cluster.detach("factor", N=5000, P=2)
    followed = cluster.parcs("logs", "-f", job)
    assert "Running your program..." in followed.stdout + followed.stderr
    row = next(r for r in cluster.json("jobs") if r["job"] == job)
    assert (row["state"], row["points"], row["exit_code"]) == ("succeeded", 2, 0)
    about = cluster.json("ps", job)
    assert [r["launcher"] for r in about["rows"]] == ["runner", "batch", "batch"]
    assert all(r["node"].startswith("node") for r in about["rows"])
    stages = about["rows"][1]["stages"]
    assert stages["accepted"] <= stages["scheduled"] <= stages["running"] <= stages["called"] + 1
    assert "called" in cluster.parcs("ps", job, "--timeline").stdout
    assert job in cluster.parcs("jobs").stdout
    assert job in cluster.parcs("rm", job).stdout
    assert job not in cluster.parcs("jobs").stdout
    assert "there is no job" in cluster.parcs("logs", job, code=2).stderr


def test_a_failing_runner_gives_its_exit_code_and_its_last_words(cluster: Cluster, module: Make) -> None:
    folder = module("fails", runner="import sys; print('all is lost'); sys.exit(7)\n")
    done = cluster.parcs("run", str(folder), "--on", "swarm", code=7)
    assert "all is lost" in done.stdout
    assert "status 7" in done.stderr


def test_stop_ends_a_job_and_its_points(cluster: Cluster) -> None:
    job = cluster.detach("sleeper")
    wait_until(lambda: len(cluster.services_of_jobs()) > 1, "the job has points", 30)
    assert job in cluster.parcs("stop", job).stdout
    wait_until(lambda: not cluster.services_of_jobs(), "its services are gone", 10)
    row = next(r for r in cluster.json("jobs") if r["job"] == job)
    assert row["state"] == "stopped"


def test_an_interrupt_stops_the_job(cluster: Cluster) -> None:
    process = cluster.start("run", "sleeper", "--on", "swarm")
    wait_until(lambda: len(cluster.services_of_jobs()) > 1, "the job has points", 30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "stopping sleeper-" in err
    wait_until(lambda: not cluster.services_of_jobs(), "its services are gone", 10)


def test_at_a_terminal_an_interrupt_asks_first(cluster: Cluster) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "parcs", "run", "sleeper", "-e", "S=60", "--on", "swarm"]
    process = subprocess.Popen(
        command, cwd=ROOT / "examples", env=cluster.environment, stdin=theirs,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    seen = b""

    def wait_for(word: bytes) -> None:
        nonlocal seen
        while word not in seen:
            data = os.read(process.stdout.fileno(), 65536)  # type: ignore[union-attr]
            assert data, seen
            seen += data

    try:
        wait_for(b"sleeper-8 established")
        process.send_signal(signal.SIGINT)
        wait_for(b"and its points? [y/N]")
        os.write(ours, b"n\n")
        wait_for(b" goes on")
        seen = b""
        process.send_signal(signal.SIGINT)
        wait_for(b"and its points? [y/N]")
        assert cluster.services_of_jobs()
        os.write(ours, b"y\n")
        wait_for(b"stopping sleeper-")
        process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)


def test_usage_of_points_is_known(cluster: Cluster, module: Make) -> None:
    service = (
        "from parcs.server import Service, serve\nclass S(Service):\n    def run(self):\n"
        "        self.recv()\nserve(S())\n"
    )
    runner = (
        "import time\nfrom parcs.server import Runner, serve\nclass R(Runner):\n    def run(self):\n"
        "        p = self.engine.run('idle')\n        time.sleep(9)\n        p.send(1)\nserve(R())\n"
    )
    job = cluster.detach(str(module("idle", service, runner)))

    def usage() -> object:
        rows = cluster.json("ps", job)["rows"]
        return len(rows) == 2 and rows[1]["memory"]

    assert wait_until(usage, "the point's memory is known", 30) > 1 << 20
    cluster.parcs("logs", "-f", job)
