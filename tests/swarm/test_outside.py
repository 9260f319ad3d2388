"""A program that is no part of the cluster (this very machine's own network) drives points in it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tests.swarm.conftest import ROOT, Cluster

import parcs
from parcs import errors
from parcs.dockerapi import nodes, tasks
from parcs.swarm import names, waves

Make = Callable[..., Path]

TALKATIVE = """
from parcs.server import Service, serve
class Talkative(Service):
    def run(self):
        while True:
            kind, value = self.recv()
            if kind == "echo":
                self.send(value)
            elif kind == "tell":
                self.peer(value).send(self.name)
            elif kind == "hear":
                self.send(self.peer(value).recv())
            elif kind == "take":
                self.recv().send("from " + self.name)
            elif kind == "start":
                point = self.engine.run("talkative")
                point.send(["echo", value])
                self.send(point.recv())
            elif kind == "fail":
                raise ValueError(value)
serve(Talkative())
"""


def _program(cluster: Cluster, folder: Path, source: str, **environment: str) -> str:
    (folder / "program.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env={**cluster.environment, **environment},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_documents_program_runs(cluster: Cluster, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "swarm.md").read_text()
    source = text.partition("```python\n")[2].partition("```")[0]
    assert _program(cluster, tmp_path, source).strip() == str(sum(x * x for x in range(100_000)))


def test_a_runner_of_the_original_finds_the_swarm_by_leader_url(cluster: Cluster, tmp_path: Path) -> None:
    cluster.parcs("module", "push", "factor")
    source = (ROOT / "examples" / "factor" / "runner.py").read_text().replace("serve(", "print(serve(") + ")"
    source = source.replace("print(serve(FactorRunner())\n)", "print(serve(FactorRunner()))\n")
    out = _program(cluster, tmp_path, source, LEADER_URL=cluster.lab.url, N="1001", P="2")
    assert out.strip().splitlines()[-1] == "[7, 11, 13, 77, 91, 143]"


def test_modules_of_ones_own_go_along(cluster: Cluster, tmp_path: Path) -> None:
    mine = (
        "class Pair:\n    def __init__(self, x):\n        self.x = x\n\n\n"
        "def double(x):\n    return Pair(2 * x)\n"
    )
    (tmp_path / "mine.py").write_text(mine)
    source = (
        "import parcs, mine\nwith parcs.connect('swarm') as engine, parcs.Pool(2, engine=engine) as pool:\n"
        "    print([pair.x for pair in pool.map(mine.double, range(5))])\n"
    )
    assert _program(cluster, tmp_path, source).strip() == "[0, 2, 4, 6, 8]"


def test_everything_works_through_the_relay(cluster: Cluster, module: Make) -> None:
    cluster.parcs("module", "push", str(module("talkative", TALKATIVE)))
    with cluster.engine() as engine:
        a, b = engine.run_all("talkative", 2)
        body = bytes(range(256)) * (1 << 17)  # 32 MiB, both ways at once
        sender = threading.Thread(target=lambda: [a.send(["echo", None]), a.send(["echo", "x"])])
        sender.start()
        b.codec = "msgpack"
        b.send(["echo", body])
        assert b.recv() == body
        sender.join()
        assert [a.recv(), a.recv()] == [None, "x"]
        a.link(b, "right", "left")
        a.send(["tell", "right"])
        b.send(["hear", "left"])
        assert b.recv() == a.name
        a.send(["start", 5])  # a point starts a point, inside
        assert a.recv() == 5
        c = engine.run("talkative")
        b.send(["take", None])
        b.send(c)  # the end of the channel to c goes to b, which talks to c directly from now on
        try:
            a.send(["fail", "on purpose"])
            a.recv()
        except errors.RemoteError as error:
            assert (error.type_name, error.message) == ("ValueError", "on purpose")
        else:
            raise AssertionError


def test_more_points_than_start_at_a_time(cluster: Cluster) -> None:
    """They come in waves, by a service that grows: none is started twice by that, and all answer."""
    cluster.parcs("module", "push", "echo")
    count = min(waves.width_of(nodes.find(cluster.docker)) + 8, 100)
    with parcs.connect(cluster.url) as engine:
        points = engine.run_all("echo", count, timeout=120)
        for i, point in enumerate(points):
            point.send(i)
        assert [point.recv() for point in points] == list(range(count))
        assert [point.name for point in points] == [f"echo-{i}" for i in range(1, count + 1)]
        made = [task.slot for task in tasks.find(cluster.docker, names.STEM + "=echo")]
        assert sorted(made) == list(range(1, count + 1))
