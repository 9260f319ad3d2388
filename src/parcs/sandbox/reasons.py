"""Why a step ended, in words."""

from __future__ import annotations

import contextlib
import signal
from typing import Final

from parcs.contract import executor as contract
from parcs.model.demand import describe_bytes
from parcs.sandbox.step import End

_LAST: Final = 64 << 10
_LONGEST: Final = 200


def explain(end: End, spec: contract.Spec, timeout_s: float) -> str:
    """One sentence: why a step ended as it did. Empty if it ended well."""
    if end.cause:
        return {
            "timeout": f"it took longer than {timeout_s:g} s and was ended",
            "cancelled": "cancelled while it ran",
            "output": f"it wrote more than {describe_bytes(spec.output)} of output and was ended",
            "cpu": f"it took more than {spec.cpu_s:g} s of CPU time and was ended",
            "memory": f"out of memory: it needed more than {describe_bytes(spec.memory)}",
            "processes": f"it started more than {spec.processes} processes and was ended",
        }[end.cause]
    if end.signal is not None:
        with contextlib.suppress(ValueError):
            return f"ended by signal {end.signal} ({signal.Signals(end.signal).name})"
        return f"ended by signal {end.signal}"
    return f"exit status {end.exit_code}" if end.exit_code else ""


def printable_lines(data: bytes | bytearray) -> list[str]:
    """The lines at the end of what was written that have anything to print, none of them long."""
    lines = bytes(data[-_LAST:]).decode(errors="replace").splitlines()
    printable = ("".join(filter(str.isprintable, line)).strip()[:_LONGEST] for line in lines)
    return [line for line in printable if line]


def last_line(lines: list[str]) -> str:
    """What a program says when it ends."""
    return lines[-1]


def first_error(lines: list[str]) -> str:
    """The first line that says so: what follows it in a compiler's output comes of it, or draws it."""
    return next((line for line in lines if "error" in line.lower()), lines[-1])
