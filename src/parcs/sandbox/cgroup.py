"""Control groups for tasks, version 2 or version 1, where the executor may make some.

A slot has its own, made once. A process is started by one that is in the group already, so it is under its
limits from its first instruction, without a program in between.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from parcs.sandbox import tree

logger = logging.getLogger("parcs.executor")

ROOT: Final = Path("/sys/fs/cgroup")
_V1: Final = ("pids", "memory", "cpuacct")
_AGENT: Final = "parcs-executor"
_PREFIX: Final = "parcs-"
_PATIENCE_S: Final = 2.0
_PEAK: Final = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}
_OOM: Final = {1: "memory.oom_control", 2: "memory.events"}


class Usage(NamedTuple):
    """What a task's processes have taken; None is not known."""

    cpu_s: float | None
    memory: int | None
    was_out_of_memory: bool


class Group:
    """The control groups of one slot.

    The slot lives in ``home``, and so does what it starts: entering a group costs ten milliseconds where that
    was not done for a while, so it is done once. Only a task with a limit of memory is started in ``strict``,
    which the slot enters and leaves for that.

    Args:
        home: by controller, where the slot lives.
        strict: where tasks with a limit of memory are started. In version 1 it is a group of memory alone.
        before: the groups that the slot came from: where it goes back to, from ``strict`` and at its end.
    """

    def __init__(self, version: int, home: dict[str, Path], strict: Path, before: dict[str, Path]) -> None:
        self.version, self._home, self._strict, self._before = version, home, strict, before
        self._me = str(os.getpid())
        for folder in set(home.values()):
            _enter(folder, self._me)
        self._is_strict = False
        self._processes = 0
        self._cpu_before = self._own_before = 0.0
        self._oom_before = 0

    def set(self, memory: int, processes: int, *, is_measured: bool) -> None:
        """Set the limits of the next task (memory 0: none), and begin to measure it if that is wanted."""
        self._is_strict = bool(memory)
        if processes != self._processes:
            self._processes = processes
            (self._home["pids"] / "pids.max").write_text(str(processes + 1))  # the slot is one of them
        if memory:
            self._limit_memory(memory, processes)
        if is_measured:
            self._cpu_before, self._own_before = self._cpu(), time.process_time()
            self._oom_before = self._oom_kills()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Within it, what this process starts is under the limits that were set."""
        if not self._is_strict:
            yield
            return
        _enter(self._strict, self._me)
        try:
            yield
        finally:
            _enter(self._before["memory"] if self.version == 1 else self._home["pids"], self._me)

    def usage(self) -> Usage:
        """What has been taken since `set`."""
        cpu = self._cpu() - self._cpu_before
        if self.version == 1 or not self._is_strict:
            cpu -= time.process_time() - self._own_before
        return Usage(max(0.0, cpu), self._peak(), self._oom_kills() > self._oom_before)

    def pids(self) -> list[int]:
        """The processes of the task that are there now."""
        folders = {self._home["pids"], self._strict}
        found = {word for folder in folders for word in (folder / "cgroup.procs").read_text().split()}
        return sorted(int(word) for word in found - {self._me})

    def kill(self) -> None:
        """End them all; returns when none is left."""
        (self._home["pids"] / "pids.max").write_text("0")  # nothing can be born while we count the living
        self._processes = 0
        deadline = time.monotonic() + _PATIENCE_S
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            tree.reap()
            if time.monotonic() > deadline:
                logger.warning("processes do not end: %s", pids)
                return
            time.sleep(0.001)

    def remove(self) -> None:
        """Leave the groups, and take them away."""
        with contextlib.suppress(OSError):
            for folder in set(self._before.values()):
                _enter(folder, self._me)
            for folder in {*self._home.values(), self._strict}:
                folder.rmdir()

    def _limit_memory(self, memory: int, processes: int) -> None:
        folder = self._strict
        if self.version == 2:
            (folder / "pids.max").write_text(str(processes))
            (folder / "memory.max").write_text(str(memory))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            with contextlib.suppress(OSError):
                (folder / "memory.peak").write_text("reset")  # since Linux 6.12
            return
        with contextlib.suppress(OSError):
            (folder / "memory.force_empty").write_text("0")  # pages that the last task left behind
        with contextlib.suppress(OSError):
            (folder / "memory.memsw.limit_in_bytes").write_text("-1")
        (folder / "memory.limit_in_bytes").write_text(str(memory))
        with contextlib.suppress(OSError):
            (folder / "memory.memsw.limit_in_bytes").write_text(str(memory))
        (folder / "memory.max_usage_in_bytes").write_text("0")

    def _cpu(self) -> float:
        if self.version == 1:
            return int((self._home["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
        folder = self._strict if self._is_strict else self._home["pids"]
        return _line(folder / "cpu.stat", "usage_usec") / 1e6

    def _peak(self) -> int | None:
        if not self._is_strict:
            return None
        try:
            return int((self._strict / _PEAK[self.version]).read_text())
        except OSError:
            return None  # version 2 has it since Linux 5.19

    def _oom_kills(self) -> int:
        if not self._is_strict:
            return 0
        return int(_line(self._strict / _OOM[self.version], "oom_kill"))


def version() -> int:
    """2 or 1, the version that has this machine's controllers of memory and processes; 0 if there is none."""
    try:
        if "memory" in (ROOT / "cgroup.controllers").read_text().split():
            return 2
    except OSError:
        pass
    return 1 if all((ROOT / name).is_dir() for name in _V1) else 0


def prepare() -> int:
    """Make ready for groups, for this process and those that it will start; gives the version, 0 where that
    cannot be.

    In version 2 a group with groups in it may have no processes of its own: this one moves into a group beside
    them.
    """
    found = version()
    try:
        if found == 2:
            home = _own(2)["pids"]
            if home.name != _AGENT:
                (home / _AGENT).mkdir(exist_ok=True)
                for pid in (home / "cgroup.procs").read_text().split():
                    _enter(home / _AGENT, pid)
                (home / "cgroup.subtree_control").write_text("+memory +pids +cpu")
        _sweep_dead(found)
        for folder in _folders(found, "probe"):
            folder.mkdir(exist_ok=True)
            is_writable = os.access(folder / "cgroup.procs", os.W_OK)
            folder.rmdir()
            if not is_writable:
                return 0
    except OSError:
        return 0
    return found


def make(name: str) -> Group | None:
    """Groups for this slot; None where this process may make none."""
    found = version()
    if not found:
        return None
    try:
        before = _own(found)
        parents = {key: folder.parent if found == 2 else folder for key, folder in before.items()}
        own = f"{_name(os.getppid())}-{name}"
        home = {key: folder / own for key, folder in parents.items() if found == 2 or key != "memory"}
        strict = parents["memory"] / (f"{own}-strict" if found == 2 else own)
        for folder in {*home.values(), strict}:
            folder.mkdir(exist_ok=True)
        return Group(found, home, strict, before)
    except OSError as error:
        logger.debug("no control groups: %s", error)
        return None


def sweep(agent: int) -> bool:
    """Take away what slots of an agent left that were killed; False if one of them still lives."""
    found = version()
    is_clean = True
    for folder in {path for parent in _own(found).values() for path in _leftovers(parent, found, agent)}:
        try:
            folder.rmdir()
        except OSError:
            is_clean = False
    return is_clean


def _sweep_dead(found: int) -> None:
    """Take away what slots left whose agents were killed too."""
    if not found:
        return
    for parent in set(_own(found).values()):
        for folder in (parent.parent if found == 2 else parent).glob(f"{_PREFIX}*-*"):
            agent = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if agent.isdecimal() and not Path(f"/proc/{agent}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _leftovers(parent: Path, found: int, agent: int) -> Iterator[Path]:
    return (parent.parent if found == 2 else parent).glob(f"{_name(agent)}-*")


def _name(agent: int) -> str:
    return f"{_PREFIX}{agent}"


def _folders(found: int, name: str) -> list[Path]:
    if not found:
        return []
    return list(
        {
            (home.parent if found == 2 else home) / f"{_name(os.getpid())}-{name}"
            for home in _own(found).values()
        }
    )


def _own(found: int) -> dict[str, Path]:
    """The groups that this process is in, by controller."""
    homes = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if found == 2 and not controllers:
            return dict.fromkeys(_V1, ROOT / path.lstrip("/"))
        for controller in controllers.split(","):
            if found == 1 and controller in _V1:
                home = ROOT / controller / path.lstrip("/")
                # in a container the path may be the host's, and the mount begins at ours
                homes[controller] = home if home.is_dir() else ROOT / controller
    return homes


def _enter(folder: Path, pid: str) -> None:
    (folder / "cgroup.procs").write_text(pid)


def _line(file: Path, name: str) -> float:
    for line in file.read_text().splitlines():
        word, _, value = line.partition(" ")
        if word == name:
            return float(value)
    return 0.0
