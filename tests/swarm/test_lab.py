"""The lab itself: faults one can give it, and what it says when it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.swarm.conftest import Cluster

from parcs import errors
from parcs.lab import Lab, Plan, lab, system


def test_a_link_is_slowed_cut_and_healed(cluster: Cluster) -> None:
    name = ["--name", cluster.lab.name]
    victim = cluster.lab.node("node3")

    def round_trip() -> float:
        begin = time.monotonic()
        with socket.create_connection((victim.address, 2377 if victim.number == 1 else 7946), timeout=2):
            return time.monotonic() - begin

    assert round_trip() < 0.05
    slowed = cluster.start("lab", "slow", "node3", "--delay", "60ms", *name)
    _, complaint = slowed.communicate(timeout=20)
    if slowed.returncode == 0:
        assert round_trip() > 0.1
        cluster.parcs("lab", "heal", "node3", *name)
        assert round_trip() < 0.05
    else:  # some kernels are built without it
        assert "has no netem" in complaint
    cluster.parcs("lab", "cut", "node3", *name)
    with pytest.raises(OSError, match=r"timed out|No route"):
        round_trip()
    rows = cluster.json("lab", "status", *name)["nodes"]
    assert [row["link"] for row in rows] == ["up", "up", "cut"]
    cluster.parcs("lab", "heal", "node3", *name)
    assert round_trip() < 0.05
    cluster.wait_whole()
    assert "node3" in cluster.parcs("lab", "status", *name).stdout


def test_what_cannot_be_is_said(cluster: Cluster) -> None:
    name = ["--name", cluster.lab.name]
    assert "there are node1, node2" in cluster.parcs("lab", "cut", "node9", *name, code=2).stderr
    assert "is up already" in cluster.parcs("lab", "up", *name, code=2).stderr
    assert "no lab 'nobody' is up" in cluster.parcs("lab", "status", "--name", "nobody", code=2).stderr
    assert "cannot be called" in cluster.parcs("lab", "up", "--name", "far too long a name", code=2).stderr
    assert "say how slow" in cluster.parcs("lab", "slow", "node2", *name, code=2).stderr
    assert "at most all of them managers" in cluster.parcs("lab", "up", "-n", "1", "-m", "2", code=2).stderr


def test_a_start_that_fails_leaves_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "dockerd"
    broken.write_text("#!/bin/sh\necho 'no storage driver for you' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(errors.LabError, match="no storage driver for you"):
        Lab.up("broken", Plan(nodes=1))
    assert not (lab.DATA / "broken").exists()
    assert "broken" not in system.run("ip", "netns")
    assert "broken" not in system.run("ip", "link")
    assert "broken" not in Lab.names()


def test_without_root_it_says_so(tmp_path: Path) -> None:
    script = "import os, sys; os.setuid(65534); from parcs.lab import system; system.check()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    preloaded = f"import parcs.errors, parcs.lab.system; {script}"
    done = subprocess.run(
        [sys.executable, "-c", preloaded], env=environment, capture_output=True, text=True, check=False
    )
    assert "a lab needs root" in done.stderr
