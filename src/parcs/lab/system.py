"""The machine's own tools, called in one way: what fails says what was run and what it printed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from parcs import errors

_TOOLS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "ip": "iproute2",
    "tc": "iproute2",
    "iptables": "iptables",
    "docker-registry": "docker-registry",
    "dnsmasq": "dnsmasq-base",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "debootstrap": "debootstrap",
}


def check() -> None:
    """Whether this machine can carry a lab.

    Raises:
        LabError: it cannot; the message has the command that changes it.
    """
    if not Path("/proc/self/ns/net").exists():
        raise errors.LabError("a lab needs Linux (network namespaces); on other systems use a Linux machine")
    if os.geteuid() != 0:
        raise errors.LabError("a lab needs root (network namespaces, Docker Engines): run it with sudo")
    missing = sorted({package for tool, package in _TOOLS.items() if find_tool(tool) is None})
    if missing:
        raise errors.LabError(
            f"a lab needs programs that are not installed; on Debian or Ubuntu: "
            f"apt-get install -y {' '.join(missing)}"
        )


def find_tool(name: str) -> str | None:
    """Where a tool is, also if it is in a system folder that is not on this user's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def run(*words: str, is_checked: bool = True, text: str = "") -> str:
    """Run a command to its end, with ``text`` as its input; returns what it printed.

    Raises:
        LabError: it failed; the message has its own complaint.
    """
    done = subprocess.run(words, check=False, capture_output=True, text=True, input=text)
    if is_checked and done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
        raise errors.LabError(f"{' '.join(words)}: {complaint}")
    return done.stdout


def start(words: Sequence[str], log: Path) -> None:
    """Start a program that outlives this one and is no child of it, its output in ``log``."""
    with log.open("ab") as file:
        subprocess.run(
            ["setsid", "--fork", *words], check=True, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only waits for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def in_network(namespace: str, words: Iterable[str]) -> list[str]:
    """The command that runs ``words`` in a network namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *words]


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str, log: Path | None = None) -> None:
    """Wait for something to become true.

    Raises:
        LabError: it did not in time; the message has the last lines of ``log``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            last = tail(log) if log else ""
            raise errors.LabError(f"{what} did not come within {timeout_s:g} s\n{last}".rstrip())
        time.sleep(0.05)


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def processes_of(namespace_file: Path, kind: str) -> list[int]:
    """Every process that lives in the namespace (``net`` or ``mnt``) that ``namespace_file`` stands for."""
    try:
        wanted = namespace_file.stat().st_ino
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "ns" / kind).stat().st_ino == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue  # ended while we looked
    return found


def end(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to each of these processes that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
