"""``parcs doctor``."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import typer

from parcs import errors
from parcs.cli import output
from parcs.lab import system
from parcs.pool.executor import processors
from parcs.sandbox import means


class Finding(NamedTuple):
    """One thing this machine can or cannot do. ``is_needed``: without it nothing runs at all."""

    what: str
    is_ok: bool
    detail: str
    remedy: str = ""
    is_needed: bool = False


def doctor(as_json: output.AsJson = False) -> None:
    """Say what this machine can do, and how to give it what it lacks."""
    findings = [check() for check in _CHECKS]
    if as_json:
        output.print_json([finding._asdict() for finding in findings])
    else:
        rows = [(_mark(f), f.what, f.detail, "" if f.is_ok else f.remedy) for f in findings]
        output.print_table(["", "what", "found", "to get it"], rows)
        limits = means.table(means.find(is_moving=False))
        output.print_table(["a task's", "is limited here by", ""], limits, "an executor on this machine")
    if any(f.is_needed and not f.is_ok for f in findings):
        raise typer.Exit(1)


def _mark(finding: Finding) -> str:
    return "ok" if finding.is_ok else ("MISSING" if finding.is_needed else "-")


def _python() -> Finding:
    version = platform.python_version()
    return Finding(
        "Python", sys.version_info >= (3, 11), f"{version} at {sys.executable}", "Python 3.11 or later", True
    )


def _cores() -> Finding:
    cores = processors()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding("machine", True, f"{cores} cores, {memory:.1f} GiB of memory")


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return Finding("loopback network", True, f"127.0.0.1:{server.getsockname()[1]} could be opened")
    except OSError as error:
        return Finding("loopback network", False, str(error), "bring the lo interface up", True)


def _prompt_deaths() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return Finding(
            "prompt news of deaths", False, str(error), "Linux 5.3 or later; else it takes 0.25 s longer"
        )
    return Finding("prompt news of deaths", True, "pidfd")


def _docker() -> Finding:
    remedy = "install Docker (Debian: apt-get install docker.io) and start it"
    info = _output("docker", "info", "--format", "{{.ServerVersion}}")
    if info is None:
        return Finding("Docker", False, "no docker command", remedy)
    code, text = info
    return Finding("Docker", code == 0 and bool(text), text or "the Engine does not answer", remedy)


def _swarm() -> Finding:
    info = _output("docker", "info", "--format", "{{.Swarm.LocalNodeState}}")
    state = info[1] if info is not None and info[0] == 0 else ""
    return Finding("Docker Swarm", state == "active", state or "no Engine to ask", "docker swarm init")


def _lab() -> Finding:
    try:
        system.check()
    except errors.LabError as error:
        return Finding("parcs lab", False, "", str(error))
    return Finding("parcs lab", True, "a Swarm can be made on this machine")


def _bubblewrap() -> Finding:
    remedy = "apt-get install bubblewrap"
    found = means.find(is_moving=False)
    if found.has_bubblewrap:
        return Finding("bubblewrap", True, "works")
    is_missing = "not installed" in found.why_no_bubblewrap
    return Finding(
        "bubblewrap", False, found.why_no_bubblewrap, remedy if is_missing else "allow user namespaces"
    )


def _go() -> Finding:
    found = _output("go", "version")
    return Finding(
        "Go", found is not None, found[1] if found else "no go command", "https://go.dev/dl (for Go modules)"
    )


def _package(name: str, extra: str) -> Callable[[], Finding]:
    def check() -> Finding:
        is_there = importlib.util.find_spec(name) is not None
        return Finding(
            f"Python: {name}", is_there, "installed" if is_there else "", f"pip install 'parcs[{extra}]'"
        )

    return check


def _output(*command: str) -> tuple[int, str] | None:
    """Exit status and output of a command; None if there is no such command."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


_CHECKS: list[Callable[[], Finding]] = [
    _python,
    _cores,
    _loopback,
    _prompt_deaths,
    _docker,
    _swarm,
    _bubblewrap,
    _go,
    _package("numpy", "numpy"),
    _package("joblib", "joblib"),
    _package("matplotlib", "study"),
    _package("docker", "swarm"),
    _package("httpx2", "client"),
    _package("fastapi", "hub"),
    _package("psycopg", "postgresql"),
    _lab,
]
