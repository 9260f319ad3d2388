"""Limits where there are no control groups, and what is written to those of version 2."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parcs.client import Hub
from parcs.sandbox import cgroup, means
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess, ended, processes_with


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """An executor on a machine without control groups: a file system of nothing lies over them."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to hide the control groups")
    hub = HubProcess(tmp_path_factory.mktemp("bare"))
    hub.start()
    hide = 'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"'
    words = ["executor", "--hub", hub.url, "--token-file", str(hub.folder / "executor.token"), "--slots", "2"]
    with (hub.folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", hide, sys.executable, "-m", "parcs", *words],
            env=hub.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    with hub.client() as client:
        wait_until(client.executors, "it is there", 20)
    yield hub
    process.terminate()
    process.wait(20)
    hub.stop()


@pytest.fixture
def hub(bare: HubProcess) -> Iterator[Hub]:
    with bare.client() as client:
        yield client


def test_memory_is_watched(hub: Hub) -> None:
    hog = "import time\nx = bytearray(300 << 20)\ntime.sleep(20)"
    detail = ended(hub, "python3", "-c", hog, limits={"memory": 64 << 20})
    assert (detail.task.state, "out of memory" in detail.task.why) == ("failed", True)


def test_processes_are_counted(hub: Hub) -> None:
    bomb = "for i in $(seq 100); do sleep 30 & done; wait"
    detail = ended(hub, "sh", "-c", bomb, limits={"processes": 20})
    assert (detail.task.state, "more than 20 processes" in detail.task.why) == ("failed", True)


def test_cpu_time_is_watched(hub: Hub) -> None:
    detail = ended(hub, "sh", "-c", "sh -c 'while :; do :; done'", limits={"cpu_s": 0.5})
    assert (detail.task.state, "CPU time" in detail.task.why) == ("failed", True)


def test_cpu_time_of_who_was_killed_counts(hub: Hub) -> None:
    detail = ended(hub, "sh", "-c", "sh -c 'while :; do :; done'; true", timeout_s=1.5)
    assert detail.task.state == "timed_out"
    assert detail.attempts[0].cpu_s > 0.5


def test_a_bomb_of_forks_ends(hub: Hub) -> None:
    bomb = "b() { b | b & }; b; sleep 20"
    detail = ended(hub, "bash", "-c", bomb, limits={"processes": 60}, timeout_s=3)
    assert detail.task.state in ("failed", "timed_out")
    assert ended(hub, "echo", "well").task.state == "succeeded"


def test_daemons_end_with_their_task(hub: Hub) -> None:
    mark = f"3602.{time.time_ns() % 10**9}"
    quiet, nested = (
        f"setsid nohup sleep {mark} >/dev/null 2>&1 &",
        f"setsid sh -c '(setsid sleep {mark} &)' &",
    )
    script = f"({quiet}); ({nested}); sleep 0.1"
    assert ended(hub, "sh", "-c", script).task.state == "succeeded"
    assert processes_with(mark) == []


def test_a_killed_slot_takes_its_task_along(hub: Hub) -> None:
    mark = f"3603.{time.time_ns() % 10**9}"
    number = hub.submit(["sh", "-c", f"echo $PPID; exec sleep {mark}"]).first
    wait_until(lambda: processes_with(mark), "it runs")
    os.kill(int(wait_until(lambda: hub.output(number), "it said whose it is")), 9)
    detail = hub.wait(number, 20)
    assert (detail.task.state, detail.task.why) == ("failed", "the executor's slot that ran it died")
    assert ended(hub, "true").task.state == "succeeded"
    subprocess.run(["pkill", "-f", mark], check=False)


def test_version_2_is_told_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a folder that looks like it: this machine's controllers may be version 1's."""
    home, strict, before = (tmp_path / name for name in ("home", "strict", "before"))
    for folder in (home, strict, before):
        folder.mkdir()
        (folder / "cgroup.procs").write_text("")
    for name, text in (
        ("memory.peak", "5000\n"),
        ("memory.events", "low 0\noom_kill 0\n"),
        ("cpu.stat", "usage_usec 1000000\n"),
    ):
        (strict / name).write_text(text)
    group = cgroup.Group(2, dict.fromkeys(("pids", "memory", "cpuacct"), home), strict, {"memory": before})
    group.set(1 << 20, 7, is_measured=True)
    assert ((home / "pids.max").read_text(), (strict / "pids.max").read_text()) == ("8", "7")
    assert (strict / "memory.max").read_text() == str(1 << 20)
    assert (strict / "memory.swap.max").read_text() == "0"
    with group.entered():
        assert (strict / "cgroup.procs").read_text() == str(os.getpid())
    assert (home / "cgroup.procs").read_text() == str(os.getpid())
    (strict / "cpu.stat").write_text("usage_usec 3500000\n")
    (strict / "memory.events").write_text("low 0\noom_kill 1\n")
    (strict / "memory.peak").write_text("9000\n")
    assert group.usage() == (2.5, 9000, True)


def test_the_table_names_what_enforces_each_limit() -> None:
    rows = means.table(means.Means(0, False, "not installed", False))
    assert {row[0]: row[2] for row in rows}["no network"] == "such tasks are not taken"
    assert "looking at the processes" in next(row[1] for row in rows if row[0] == "memory")
    assert "version 2" in next(
        row[1] for row in means.table(means.Means(2, True, "", True)) if row[0] == "memory"
    )
