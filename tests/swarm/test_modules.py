"""Modules as images, the registry, and warm points."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import wait_until
from tests.swarm.conftest import Cluster
from tests.swarm.test_faults import PATIENT

from parcs import errors
from parcs.model import resources

Make = Callable[..., Path]


def test_a_module_is_built_pushed_listed_inspected_and_removed(cluster: Cluster, module: Make) -> None:
    folder = module(
        "greeter", PATIENT, more='[parameters]\nWHO = { default = "you", help = "whom to greet" }'
    )
    (folder / "requirements.txt").write_text("six>=1.16  # something small\n")
    first = cluster.parcs("module", "push", str(folder)).stdout
    assert f"{cluster.lab.registry}/greeter@sha256:" in first
    assert "nothing has changed" in cluster.parcs("module", "push", str(folder)).stdout
    row = next(r for r in cluster.json("module", "ls") if r["name"] == "greeter" and r["tag"] == "latest")
    assert row["digest"] in first
    assert row["language"] == "python"
    assert list(row["parameters"]) == ["WHO"]
    assert row["size"] > 1_000_000
    assert "greeter" in cluster.parcs("module", "ls").stdout
    assert "whom to greet" in cluster.parcs("module", "inspect", "greeter").stdout
    with (folder / "service.py").open("a") as file:
        file.write("# a changed line\n")
    begin = time.monotonic()
    second = cluster.parcs("module", "push", str(folder)).stdout
    assert time.monotonic() - begin < 5  # about a second; the base and the requirements are layers that stay
    assert second.split()[0] != first.split()[0]
    assert "removed greeter" in cluster.parcs("module", "rm", "greeter").stdout
    assert "no image" in cluster.parcs("module", "inspect", "greeter", code=2).stderr


def test_requirements_are_in_the_image(cluster: Cluster) -> None:
    assert cluster.run("matmul", P=2)["exit_code"] == 0


def test_requirements_that_cannot_be_had_are_said(cluster: Cluster, module: Make) -> None:
    folder = module("greedy", PATIENT)
    (folder / "requirements.txt").write_text("no-such-package-anywhere==9.9\n")
    done = cluster.parcs("module", "push", str(folder), code=2)
    assert "no-such-package-anywhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_may_bring_its_own_dockerfile(cluster: Cluster, module: Make) -> None:
    folder = module("custom", PATIENT)
    (folder / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nRUN echo 42 > /answer\nCOPY . /module\nWORKDIR /module\n"
    )
    cluster.parcs("module", "push", str(folder))
    with cluster.engine() as engine:
        point = engine.run("custom")
        point.send("hello")
        assert point.recv() == "hello"
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN false\n")
    done = cluster.parcs("module", "build", str(folder), code=2)
    assert "could not be built" in done.stderr
    assert "non-zero code: 1" in done.stderr


def test_a_run_keeps_its_image_whatever_is_pushed_meanwhile(cluster: Cluster, module: Make) -> None:
    folder = module("versioned", PATIENT.replace("self.recv()", "[1, self.recv()]"))
    cluster.parcs("module", "push", str(folder))
    with cluster.engine() as engine:
        one = engine.run("versioned")
        (folder / "service.py").write_text(PATIENT.replace("self.recv()", "[2, self.recv()]"))
        cluster.parcs("module", "push", str(folder))
        for point in (one, engine.run("versioned")):
            point.send("x")
            assert point.recv() == [1, "x"]
    with cluster.engine() as engine:
        point = engine.run("versioned")
        point.send("x")
        assert point.recv() == [2, "x"]


def test_needs_in_the_manifest_are_kept(cluster: Cluster, module: Make) -> None:
    folder = module(
        "needy",
        PATIENT,
        more='[resources]\ncpus = 0.5\nmemory = "64MiB"\nconstraints = ["node.hostname==node3"]',
    )
    cluster.parcs("module", "push", str(folder))
    with cluster.engine() as engine:
        points = engine.run_all("needy", 2)
        assert {point.node for point in points} == {"node3"}
        with pytest.raises(errors.NoRoomError, match=r"node3 1 CPUs"):
            engine.run_all("needy", 3)
    asked = cluster.json("module", "inspect", "needy")["needs"]
    assert resources.parse(asked, "x").resources == (0.5, 64 << 20, 0)


def test_warm_points_are_taken_in_milliseconds(cluster: Cluster, module: Make) -> None:
    cluster.parcs("module", "push", str(module("patient", PATIENT)))
    with cluster.engine() as engine:
        engine.warm("patient", 4)
        begin = time.monotonic()
        points = engine.run_all("patient", 4)
        for point in points:
            point.send("x")
        assert [point.recv() for point in points] == ["x"] * 4
        assert time.monotonic() - begin < 0.5  # a cold start takes more than a second
        engine.warm("patient", 4)
        again = engine.run("patient")
        again.send("y")
        assert again.recv() == "y"
        with pytest.raises(errors.ImageMissingError):
            engine.warm("nowhere", 1)


def test_points_kept_warm_for_everybody(cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor")
    done = cluster.parcs("warm", "factor", "-n", "3")
    assert "3 of 3 points of factor are waiting" in done.stdout
    job = cluster.detach("factor", N=100, P=3)
    cluster.parcs("logs", "-f", job)
    rows = cluster.json("ps", job)["rows"]
    assert [row["launcher"] for row in rows] == ["runner", "warm", "warm", "warm"]
    assert next(r for r in cluster.json("jobs") if r["job"] == job)["state"] == "succeeded"
    cluster.parcs("warm", "factor", "-n", "0")
    first = cluster.lab.nodes[0]
    wait_until(lambda: "warm" not in first.docker("service", "ls", "--format", "{{.Name}}"), "none waits", 20)
