"""The control space of one job as its engine server sees it: points, their lives, what they report.

Pure: events in, changed values out; the server performs what follows from them.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, NamedTuple

from parcs import errors
from parcs.contract.engine import RUNNER, Report, Waiting
from parcs.engine import deadlock
from parcs.model.lifecycle import Ending, PointEvent, PointState, advance


class PointRecord:
    """One point."""

    def __init__(self, name: str, module: str, language: str, creator: str, now: float) -> None:
        self.name, self.module, self.language, self.creator = name, module, language, creator
        self.state = PointState.STARTING
        self.started_at = now
        self.ended_at: float | None = None
        self.ending: Ending | None = None
        self.cpu_s = 0.0

    def end(self, ending: Ending, cpu_s: float) -> None:
        """Its process is over."""
        self.ending, self.ended_at, self.cpu_s = ending, time.time(), cpu_s
        if self.state is PointState.STARTING:
            event = PointEvent.NOT_STARTED
        else:
            event = PointEvent.EXITED_WELL if ending.is_clean else PointEvent.EXITED_BADLY
        self.state = advance(self.state, event)

    def to_json(self) -> dict[str, Any]:
        """As in the answer to a status request."""
        return {
            "name": self.name,
            "module": self.module,
            "language": self.language,
            "creator": self.creator,
            "state": self.state.value,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "ending": self.ending._asdict() if self.ending else None,
        }


class Verdict(NamedTuple):
    """To tell a blocked program: it is in a deadlock."""

    program: str
    report: int
    cycle: list[str]


class Summary(NamedTuple):
    """A run in numbers. Seconds; bytes of bodies.

    ``wall_s`` is the time the runner's work took; ``busy_s`` the processor time of all points' work, the
    runner's left out; ``speedup`` the one over the other; ``waited_s`` the time points were blocked in recv.
    """

    points: int
    languages: dict[str, int]
    messages: int
    bytes: int
    wall_s: float
    busy_s: float
    waited_s: float
    speedup: float
    failed: int

    def describe(self) -> str:
        """The one line at the end of a run."""
        kinds = ", ".join(
            f"{count} {language}" for language, count in sorted(self.languages.items()) if language
        )
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{_count(self.points, 'point')}{f' ({kinds})' if len(self.languages) > 1 else ''}{failed} · "
            f"{_count(self.messages, 'message')} · {_bytes(self.bytes)} · wall {self.wall_s:.2f} s · "
            f"busy {self.busy_s:.2f} s · speed-up {self.speedup:.2f}"
        )


class ControlSpace:
    """All points of one job."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.points: dict[str, PointRecord] = {}
        self.reports: dict[str, Report] = {}
        self.result: Any = None
        self._waiting: dict[str, Waiting] = {}
        self._numbers: Counter[str] = Counter()
        self._begin = time.time()

    def add(self, module: str, language: str, creator: str) -> PointRecord:
        """A new point, with a name nobody has."""
        stem = module.rpartition("/")[2].partition(":")[0]
        return self.add_named(f"{stem}-{self.next_number(stem, 1)}", module, language, creator)

    def add_named(self, name: str, module: str, language: str, creator: str) -> PointRecord:
        """A new point with a name from `next_number`."""
        record = PointRecord(name, module, language, creator, time.time())
        self.points[name] = record
        return record

    def next_number(self, stem: str, count: int) -> int:
        """Take ``count`` numbers that follow each other for points called ``stem-N``; gives the first."""
        first = self._numbers[stem] + 1
        self._numbers[stem] += count
        return first

    def last_number(self, stem: str) -> int:
        """The last number taken for points called ``stem-N``."""
        return self._numbers[stem]

    def discard(self, name: str) -> None:
        """A point that never was."""
        self.points.pop(name, None)

    def record(self, name: str) -> PointRecord:
        """A point by name.

        Raises:
            EngineError: there is none.
        """
        try:
            return self.points[name]
        except KeyError:
            raise errors.EngineError(f"there is no point named {name!r} in this control space") from None

    def advance(self, name: str, event: PointEvent) -> None:
        """Something happened to a point."""
        record = self.record(name)
        record.state = advance(record.state, event)

    def end(self, name: str, ending: Ending, cpu_s: float) -> None:
        """A point's process is over."""
        self.record(name).end(ending, cpu_s)
        self._waiting.pop(name, None)

    def set_waiting(self, program: str, waiting: Waiting) -> list[Verdict]:
        """A program is blocked, or goes on; returns whom to tell that they are in a deadlock."""
        self._waiting[program] = waiting
        stuck = deadlock.find(self._waiting)
        if not stuck:
            return []
        cycle = deadlock.cycle(self._waiting, stuck)
        return [Verdict(name, self._waiting[name].report, cycle) for name in sorted(stuck)]

    def add_report(self, program: str, report: Report) -> None:
        """A program's figures; the events of several reports of one program add up."""
        before = self.reports.get(program)
        events = [*before.events, *report.events] if before else report.events
        self.reports[program] = report._replace(events=events)

    def summary(self) -> Summary:
        """The run in numbers, until now."""
        runner = self.reports.get(RUNNER)
        wall = max(runner.elapsed_s if runner else time.time() - self._begin, 1e-9)
        points = [self.reports.get(name) for name in self.points]
        busy = sum(
            report.busy_s if report else self.points[name].cpu_s
            for name, report in zip(self.points, points, strict=True)
        )
        reports = list(self.reports.values())
        # A message between two programs is in the books of both; one that only its receiver reported
        # (its sender was killed) counts too.
        messages = max(sum(r.messages_sent for r in reports), sum(r.messages_received for r in reports))
        size = max(sum(r.bytes_sent for r in reports), sum(r.bytes_received for r in reports))
        return Summary(
            points=len(self.points),
            languages=dict(Counter(record.language for record in self.points.values())),
            messages=messages,
            bytes=size,
            wall_s=wall,
            busy_s=busy,
            waited_s=sum(report.waited_s for report in points if report),
            speedup=busy / wall,
            failed=sum(record.state is PointState.FAILED for record in self.points.values()),
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
