"""What clients asked, when, and what they were told: the only evidence that the checker has."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "refused", "unknown"]
"""The hub said yes; it said no; nobody knows: it may have been done, or not."""


@dataclass(frozen=True)
class Operation:
    """One operation of a client. Times are seconds since the run began."""

    client: int
    verb: str
    """submit, read, wait, list or cancel."""
    begun: float
    ended: float
    outcome: Outcome
    task: int = 0
    name: str = ""
    """Of a submission: the label that finds what came of it."""
    seen: Sequence[tuple[int, int, str]] = ()
    """Tasks as they were seen: number, attempt, state."""
    count: int = 0
    """Of a cancel: how many were not over."""
    why: str = ""


@dataclass(frozen=True)
class Event:
    """Something the nemesis did."""

    begun: float
    ended: float
    kind: str
    what: str
    was_whole: bool = True
    """Whether all had recovered from the fault before: then it is one fault, else two at once."""


@dataclass(frozen=True)
class Ended:
    """A task as it is when all is over: read after everything was healed."""

    id: int
    name: str
    state: str
    attempt: int
    attempts: Sequence[tuple[int, str]]
    """Number and state."""
    output: str


@dataclass
class History:
    """All of a run."""

    operations: list[Operation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun

    def add(self, operation: Operation) -> None:
        """Keep an operation."""
        with self._lock:
            self.operations.append(operation)

    def write(self, file: Path) -> None:
        """Keep all of it, one JSON value a line."""
        with file.open("w") as target:
            for kind, values in self._parts():
                for value in values:
                    target.write(json.dumps({"is": kind, **value}) + "\n")

    def _parts(self) -> Iterator[tuple[str, Iterator[Mapping[str, Any]]]]:
        yield "facts", iter([self.facts])
        yield "event", (asdict(event) for event in self.events)
        yield "operation", (asdict(operation) for operation in self.operations)
        yield "end", (asdict(end) for end in self.ends)


def read(file: Path) -> History:
    """A history that was kept."""
    history = History()
    for line in file.read_text().splitlines():
        value = json.loads(line)
        kind = value.pop("is")
        if kind == "facts":
            history.facts = value
        elif kind == "event":
            history.events.append(Event(**value))
        elif kind == "operation":
            value["seen"] = [tuple(each) for each in value["seen"]]
            history.operations.append(Operation(**value))
        else:
            value["attempts"] = [tuple(each) for each in value["attempts"]]
            history.ends.append(Ended(**value))
    return history
