"""The processes below this one, as Linux tells of them: for limits without control groups, and for the end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_PATIENCE_S: Final = 2.0


class Usage(NamedTuple):
    """What living processes take, and how many they are."""

    cpu_s: float
    memory: int
    processes: int


def become_subreaper() -> None:
    """From now on orphans below this process become its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end_with_parent() -> None:
    """This process is killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def below(root: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
    found: list[int] = []
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found


def usage(root: int) -> Usage:
    """What the processes below one take now; memory that they share counts once for each of them."""
    cpu = memory = threads = 0
    for pid in below(root):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = _stat(pid)
            cpu += sum(int(word) for word in words[11:15])  # its own, and of children that it has waited for
            threads += int(words[17])
            memory += int(words[21])
    return Usage(cpu / _TICKS, memory * _PAGE, threads)


def kill_but(root: int, kept: int) -> None:
    """End all processes below one but one, as well as it can be done at once."""
    for sign in (signal.SIGSTOP, signal.SIGKILL):
        for pid in below(root):
            if pid != kept:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, sign)


def reap() -> bool:
    """Take the status of every child that has ended; True if none is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def kill(root: int) -> None:
    """End all processes below ``root``, this one; returns when none is left."""
    deadline = time.monotonic() + _PATIENCE_S
    while found := below(root):
        # Stopped first, they cannot multiply faster than they end.
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, sign)
        reap()
        if time.monotonic() > deadline:
            return
        time.sleep(0.001)


def _stat(pid: int) -> list[str]:
    """The words of /proc/PID/stat behind the name, which may have any characters: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
