"""What can limit and isolate tasks on this machine, found by trying."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from parcs.sandbox import bubblewrap, cgroup

_TRY_S: Final = 10.0


class Means(NamedTuple):
    """What there is. ``cgroup`` is the version of the control groups that the executor may make, 0 for none."""

    cgroup: int
    has_bubblewrap: bool
    why_no_bubblewrap: str
    has_docker: bool

    @property
    def levels(self) -> list[str]:
        """The levels of isolation that tasks can have."""
        more = [("bubblewrap", self.has_bubblewrap), ("docker", self.has_docker)]
        return ["process", *(name for name, has in more if has)]


def find(*, is_moving: bool = True) -> Means:
    """Try what this machine gives.

    Args:
        is_moving: this process may be moved to another control group, as version 2 needs it.
    """
    groups = cgroup.prepare() if is_moving else cgroup.version() if os.access(cgroup.ROOT, os.W_OK) else 0
    why = _why_no_bubblewrap()
    return Means(groups, not why, why, _has_docker())


@functools.cache
def _why_no_bubblewrap() -> str:
    if shutil.which("bwrap") is None:
        return "not installed: apt-get install bubblewrap"
    try:
        with tempfile.TemporaryDirectory() as folder:
            bubblewrap.give(Path(folder))
            words = [*bubblewrap.words(folder, network=False), "true"]
            done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=_TRY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it fails"])[-1]


@functools.cache
def _has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            check=False,
            capture_output=True,
            timeout=_TRY_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def table(found: Means) -> list[tuple[str, str, str]]:
    """For each limit: what enforces it at the levels process and bubblewrap, and how exactly."""
    groups = f"control groups, version {found.cgroup}" if found.cgroup else ""
    watch = "looking at the processes, each 0.1 s"
    tree = f"{groups}, and a subreaper" if groups else "a subreaper: orphans come back to their slot"
    if not groups and os.geteuid() != 0:
        tree += "; RLIMIT_NPROC besides"
    network = (
        "bubblewrap: a network namespace of its own"
        if found.has_bubblewrap
        else "docker"
        if found.has_docker
        else "nothing"
    )
    return [
        ("wall time", "a timer of the slot", "exact"),
        ("CPU time", f"{groups}, read each 0.1 s" if groups else watch, "to 0.1 s"),
        ("memory", groups or watch, "exact" if groups else "may be passed for 0.1 s"),
        ("processes", groups or watch, "exact" if groups else "may be passed for 0.1 s"),
        ("output", "pipes that the slot counts", "exact"),
        ("size of one file", "RLIMIT_FSIZE", "exact"),
        ("the end of all its processes", tree, "exact"),
        ("no network", network, "exact" if network != "nothing" else "such tasks are not taken"),
        (
            "read-only system",
            "bubblewrap" if found.has_bubblewrap else f"nothing (bubblewrap: {found.why_no_bubblewrap})",
            "",
        ),
    ]
