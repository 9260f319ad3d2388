"""A run as a timeline in the Chrome trace format, which Perfetto opens.

Each program is a process of the timeline; its work, its sends and its receives are slices, and an arrow
joins a message's send to its receive. Format: "Trace Event Format", Google, 2016.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parcs import errors
from parcs.engine.space import ControlSpace

_MICRO = 1e6


def check_writable(path: Path) -> None:
    """Find out before the run, not after, that the timeline cannot be written.

    Raises:
        SettingsError: it cannot.
    """
    try:
        with path.open("a", encoding="utf-8"):
            return
    except OSError as error:
        raise errors.SettingsError(f"the timeline {path} cannot be written: {error.strerror}") from None


def write(space: ControlSpace, path: Path) -> None:
    """Write the timeline of a finished run."""
    path.write_text(json.dumps(timeline(space)), encoding="utf-8")


def timeline(space: ControlSpace) -> dict[str, Any]:
    """The timeline of a finished run, as the format has it. Times are microseconds since the first event."""
    programs = [name for name in space.reports if name not in space.points] + list(space.points)
    raw = [event for report in space.reports.values() for event in report.events]
    begins = [event[5] for event in raw] + [record.started_at for record in space.points.values()]
    zero = min(begins, default=0.0)
    events: list[dict[str, Any]] = []
    for number, name in enumerate(programs, start=1):
        meta = {"ph": "M", "pid": number, "tid": 0}
        events.append({**meta, "name": "process_name", "args": {"name": name}})
        events.append({**meta, "name": "process_sort_index", "args": {"sort_index": number}})
        events += _life(space, name, number, zero)
        report = space.reports.get(name)
        for event in report.events if report else []:
            events += _message(event, name, number, zero)
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": space.summary()._asdict()}


def _life(space: ControlSpace, name: str, number: int, zero: float) -> Iterator[dict[str, Any]]:
    record = space.points.get(name)
    if record is not None:
        end = record.ended_at or record.started_at
        args = {"state": record.state.value, "module": record.module, "creator": record.creator}
        yield _slice("process", number, record.started_at - zero, end - record.started_at, args)


def _message(event: list[Any], name: str, number: int, zero: float) -> Iterator[dict[str, Any]]:
    kind, channel, peer, count, size, begin, end = event
    if kind == "run":
        yield _slice("run", number, begin - zero, end - begin, {})
        return
    args = {"peer": peer, "bytes": size, "message": count}
    yield _slice(f"{kind} {peer}", number, begin - zero, end - begin, args)
    sender = name if kind == "send" else peer
    arrow = {
        "cat": "message",
        "name": "message",
        "id": f"{channel}/{sender}/{count}",
        "pid": number,
        "tid": 1,
    }
    if kind == "send":
        yield {**arrow, "ph": "s", "ts": (begin - zero) * _MICRO}
    else:
        yield {**arrow, "ph": "f", "bp": "e", "ts": (end - zero) * _MICRO}


def _slice(name: str, number: int, begin: float, duration: float, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": "parcs",
        "pid": number,
        "tid": 1,
        "ts": begin * _MICRO,
        "dur": max(duration, 0.0) * _MICRO,
        "args": args,
    }
