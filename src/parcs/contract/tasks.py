"""The shapes of the hub's HTTP API, shared by the hub and its clients. Plain frozen dataclasses: JSON objects.

Times are seconds since 1970 (UTC); sizes are bytes; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_OPEN = {"use_attribute_docstrings": True}

API = "/api/v1"
STREAMS = ("stdout", "stderr", "compile_stdout", "compile_stderr")
"""What an attempt writes."""


@dataclass(frozen=True)
class Limits:
    """What a task may use. Nothing said is no limit, but for output, files and processes."""

    __pydantic_config__ = _STRICT

    cpu_s: float | None = None
    """CPU seconds of all its processes together."""
    memory: int | None = None
    """Bytes of memory of all its processes together."""
    processes: int = 512
    """Processes and threads at once."""
    output: int = 8 << 20
    """Bytes of standard output, and of standard error."""
    files: int = 64 << 20
    """Bytes of output files that are kept."""
    network: bool | None = None
    """False: it must have none. True: it must have one. Nothing: as its isolation has it."""


@dataclass(frozen=True)
class Compile:
    """A step before the command, in the same folder. If it fails, the command is not run."""

    __pydantic_config__ = _STRICT

    command: str | Sequence[str]
    """A line for the shell, or a program and its arguments."""
    timeout_s: float = 60.0


@dataclass(frozen=True)
class TaskRequest:
    """What to run. Only ``command`` is needed."""

    __pydantic_config__ = _STRICT

    command: str | Sequence[str]
    """A line for the shell, or a program and its arguments."""
    name: str = ""
    compile: Compile | None = None
    stdin: str = ""
    timeout_s: float | None = 3600.0
    """Of the command; null is no limit."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts by path, laid in the task's folder."""
    archive: str | None = None
    """The digest that an upload of a zip or tar archive was answered with; unpacked in the task's folder."""
    expected: str | None = None
    """What its standard output should be; the task's ``matched`` says whether it was."""
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    """Higher first."""
    retries: int = 0
    """How often it is run again when it fails or its time is over."""
    after: Sequence[int] = ()
    """Tasks that must have succeeded first."""
    outputs: Sequence[str] = ()
    """Patterns of files to keep, as ``*.png``."""
    isolation: str | None = None
    """process, bubblewrap or docker; null: whatever does what the limits say."""
    image: str | None = None
    """The image, for docker."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Labels that the executor must have."""
    array: Sequence[Mapping[str, str]] | None = None
    """One task for each: its values are in its environment, and stand for {name} in command and standard input."""


@dataclass(frozen=True)
class Task:
    """A task as lists show it."""

    __pydantic_config__ = _OPEN

    id: int
    name: str
    state: str
    user: str
    command: str
    priority: int
    created: float
    started: float | None
    ended: float | None
    attempt: int
    """How often it was given to an executor."""
    executor: str | None
    exit_code: int | None
    signal: int | None
    matched: bool | None
    why: str
    """One sentence: why it waits, or why it ended."""
    array: int | None
    """The first task of its array."""
    index: int | None
    parameters: Mapping[str, str]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Attempt:
    """One run of a task."""

    __pydantic_config__ = _OPEN

    number: int
    executor: str
    started: float
    ended: float | None
    state: str
    """The state it ended in, or running."""
    exit_code: int | None
    signal: int | None
    compile_exit_code: int | None
    cpu_s: float | None
    memory: int | None
    """The most that it had at once."""
    why: str
    output: Mapping[str, str]
    """The beginnings of what it wrote, by stream."""
    sizes: Mapping[str, int]
    """Bytes of every stream and of every kept file (``file/PATH``)."""


@dataclass(frozen=True)
class TaskDetail:
    """A task whole: how it was asked for, and every attempt."""

    __pydantic_config__ = _OPEN

    task: Task
    request: TaskRequest
    attempts: Sequence[Attempt]
    waits_for: Sequence[int]
    """Tasks that have to end first."""


@dataclass(frozen=True)
class Submitted:
    """The answer to a submission: tasks are numbered one after another, in the order given."""

    __pydantic_config__ = _OPEN

    first: int
    count: int
    why: str = ""
    """Why none of them can begin now, if there is a reason."""


@dataclass(frozen=True)
class TaskPage:
    """Some tasks, and where the rest begins."""

    __pydantic_config__ = _OPEN

    tasks: Sequence[Task]
    next: str | None
    """Give it as ``cursor``; null at the end."""


@dataclass(frozen=True)
class Query:
    """Which tasks are meant. What is not said does not matter."""

    __pydantic_config__ = _STRICT

    ids: Sequence[int] = ()
    states: Sequence[str] = ()
    user: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """In the name or the command."""
    array: int | None = None
    created_from: float | None = None
    created_until: float | None = None
    executor: str | None = None
    """The id of the executor that has it, or had it last."""


@dataclass(frozen=True)
class Changed:
    """How many tasks a request changed."""

    __pydantic_config__ = _OPEN

    count: int


@dataclass(frozen=True)
class ArchiveFiles:
    """What is in an archive."""

    __pydantic_config__ = _OPEN

    texts: Mapping[str, str]
    """By their paths."""
    others: Sequence[str]
    """Paths of what is no text, or too large."""


@dataclass(frozen=True)
class Uploaded:
    """An archive that the hub has."""

    __pydantic_config__ = _OPEN

    digest: str
    files: int
    size: int


@dataclass(frozen=True)
class HubSeen:
    """A hub as the others see it."""

    __pydantic_config__ = _OPEN

    id: str
    address: str
    """Where it listens, as far as it knows."""
    version: str
    started: float
    last_seen: float


@dataclass(frozen=True)
class Executor:
    """An executor as the live list shows it."""

    __pydantic_config__ = _OPEN

    id: str
    name: str
    host: str
    state: str
    """active, draining, disabled, or gone."""
    slots: int
    busy: int
    version: str
    levels: Sequence[str]
    """Of isolation."""
    labels: Mapping[str, str]
    cpus: int
    memory: int
    cpu_percent: float
    memory_used: int
    last_seen: float


@dataclass(frozen=True)
class Sample:
    """How a hub was at one time."""

    __pydantic_config__ = _OPEN

    at: float
    counts: Mapping[str, int]
    """Tasks by state."""
    succeeded_per_s: float
    """Tasks that succeeded since the sample before, a second."""
    failed_per_s: float
    """That failed, timed out, did not compile or were lost."""
    cancelled_per_s: float
    executors: int
    """Connected ones."""
    slots: int
    busy: int


@dataclass(frozen=True)
class Load:
    """How busy an executor and its machine were, the oldest first."""

    __pydantic_config__ = _OPEN

    at: Sequence[float]
    cpu_percent: Sequence[float]
    memory_used: Sequence[int]
    busy: Sequence[int]


@dataclass(frozen=True)
class History:
    """The samples that a hub has, the oldest first."""

    __pydantic_config__ = _OPEN

    every_s: float
    samples: Sequence[Sample]


@dataclass(frozen=True)
class User:
    """Somebody who may use the hub."""

    __pydantic_config__ = _OPEN

    name: str
    role: str
    created: float
    disabled: bool


@dataclass(frozen=True)
class Token:
    """A token, without its secret."""

    __pydantic_config__ = _OPEN

    id: int
    name: str
    kind: str
    """api, executor, or session."""
    user: str
    created: float
    expires: float | None
    last_used: float | None
    revoked: bool


@dataclass(frozen=True)
class NewToken:
    """A token with its secret, which is shown once."""

    __pydantic_config__ = _OPEN

    token: Token
    secret: str


@dataclass(frozen=True)
class Audit:
    """Who did what."""

    __pydantic_config__ = _OPEN

    at: float
    user: str
    action: str
    subject: str
    address: str


@dataclass(frozen=True)
class Problem:
    """An error, as RFC 9457 has it."""

    __pydantic_config__ = _OPEN

    type: str
    title: str
    status: int
    detail: str
    field: str = ""
    """The part of the request that is wrong, as ``limits.memory``."""
    extra: Mapping[str, Any] | None = None
