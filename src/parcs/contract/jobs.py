"""The shapes of a Swarm's jobs as the hub's HTTP API shows them, and `Flow` as its engine server tells it too.

Times are seconds since 1970, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_OPEN = {"use_attribute_docstrings": True}


@dataclass(frozen=True)
class Job:
    """One run of a runner, with its points."""

    __pydantic_config__ = _OPEN

    job: str
    module: str
    state: str
    points: int
    created_at: float
    ended_at: float | None
    exit_code: int | None
    result: Any
    """What its runner gave, as JSON."""
    why: str
    """Why it did not end well."""


@dataclass(frozen=True)
class Program:
    """The runner, or a point."""

    __pydantic_config__ = _OPEN

    name: str
    module: str
    creator: str
    """Who asked for it; empty for the runner."""
    state: str
    node: str
    launcher: str
    """batch, service or warm."""
    language: str
    cpu_s: float | None
    memory: int | None
    why: str
    stages: Mapping[str, float]
    """When its start came how far: accepted, scheduled, image, created, running, called."""
    ended_at: float | None


@dataclass(frozen=True)
class Figures:
    """A run in numbers, as its programs reported them at their ends. Seconds; bytes of bodies."""

    __pydantic_config__ = _OPEN

    points: int
    messages: int
    bytes: int
    wall_s: float
    """What the runner's work took."""
    busy_s: float
    """Processor time of all points' work."""
    waited_s: float
    """How long points were blocked to receive."""
    speedup: float
    failed: int


@dataclass(frozen=True)
class JobDetail:
    """A job whole."""

    __pydantic_config__ = _OPEN

    job: Job
    programs: Sequence[Program]
    summary: str
    """Where its time went, in words, when it is over."""
    figures: Figures | None


@dataclass(frozen=True)
class Flow:
    """A channel between two programs of a job: what went from ``one`` to ``other``, and back."""

    __pydantic_config__ = _OPEN

    channel: str
    """Its id, the same at both ends."""
    one: str
    other: str
    sent: int
    """Messages from one to other."""
    received: int
    """Messages back."""
    bytes_sent: int
    bytes_received: int
    waits: Mapping[str, str]
    """Which of the two waits there just now: to recv, or to send."""


@dataclass(frozen=True)
class Line:
    """One line that one of its programs printed."""

    __pydantic_config__ = _OPEN

    number: int
    time: float
    source: str
    node: str
    stream: int
    """1 for standard output, 2 for standard error."""
    text: str


@dataclass(frozen=True)
class JobRequest:
    """A module of the registry, and its parameters."""

    __pydantic_config__ = _STRICT

    module: str
    parameters: Mapping[str, str] = field(default_factory=dict)
