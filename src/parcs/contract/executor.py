"""What a hub and its executors say to each other: MessagePack in WebSocket messages, one of these each.

    executor                                hub
    Hello ─────────────────────────────────▶          who it is, what it offers, which attempts it still has
          ◀───────────────────────── Welcome          which of those are still its own
    Ready ─────────────────────────────────▶          how many more tasks it would take now
          ◀────────────────────────── Leases          at most so many
    Progress, Output, Results ─────────────▶          Results says anew how many more
          ◀───────────────────── Ack, Cancel          what is committed; what is to be ended
    Returned ──────────────────────────────▶          what it could not begin soon
    Beat ──────────────────────────────────▶          each `Welcome.heartbeat_s`: that keeps its leases

A result is kept by the executor until its Ack, over any number of connections: an Ack follows a commit.
"""

from __future__ import annotations

from typing import Final

import msgspec

PROTOCOL: Final = 1
PATH: Final = "/api/v1/executors/connect"
LARGEST: Final = 384 << 20
"""Bytes of one message: the most that a task's four streams and its kept files may have (64 MiB each), and more."""
BATCH_BYTES: Final = 64 << 20
"""Bytes of results after which no further one is told, or committed, together with them."""


class Step(msgspec.Struct, frozen=True):
    """A command: its words, and its time limit (0: none)."""

    words: list[str]
    timeout_s: float


class Spec(msgspec.Struct, frozen=True):
    """What the tasks of one submission have in common."""

    command: Step
    compile: Step | None
    stdin: str
    archive: str
    environment: dict[str, str]
    outputs: list[str]
    level: str
    image: str
    cpu_s: float
    memory: int
    processes: int
    output: int
    files: int
    network: bool | None
    expected: str | None
    is_array: bool


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """One attempt at a task. ``parameters`` are its own values, if it is one of an array."""

    task: int
    attempt: int
    spec: int
    parameters: dict[str, str]


class Offer(msgspec.Struct, frozen=True):
    """What an executor has."""

    levels: list[str]
    labels: dict[str, str]
    cpus: int
    memory: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first message. ``held`` are attempts as (task, attempt)."""

    protocol: int
    version: str
    id: str
    name: str
    host: str
    slots: int
    offer: Offer
    held: list[tuple[int, int]]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """``more`` tasks would be taken now; it replaces what was said before.

    ``seen`` is how many leases have arrived on this connection: those still on their way come off ``more``.
    """

    more: int
    seen: int | None = None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """An attempt has come to its command."""

    task: int
    attempt: int


class Output(msgspec.Struct, frozen=True, tag="output"):
    """What a running attempt has written to a stream, from ``position`` on."""

    task: int
    attempt: int
    stream: str
    position: int
    data: bytes


class Result(msgspec.Struct, frozen=True):
    """How an attempt ended. ``streams`` has what no Output said yet, as (position, bytes); times are durations."""

    task: int
    attempt: int
    state: str
    why: str
    exit_code: int | None = None
    signal: int | None = None
    compile_exit_code: int | None = None
    matched: bool | None = None
    took_s: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    streams: dict[str, tuple[int, bytes]] = {}
    files: dict[str, bytes] = {}

    def size(self) -> int:
        """Bytes of what the task wrote."""
        return sum(len(data) for _, data in self.streams.values()) + sum(map(len, self.files.values()))


class Results(msgspec.Struct, frozen=True, tag="results"):
    """Attempts that ended, and what `Ready` has."""

    results: list[Result]
    more: int
    seen: int | None = None


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    """Attempts that were not begun and will not be: for others to run."""

    attempts: list[tuple[int, int]]


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A sign of life, with what is busy and how the machine is."""

    busy: int
    cpu_percent: float
    memory_used: int


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The answer to Hello. ``dropped`` are held attempts that are no longer the executor's."""

    protocol: int
    version: str
    heartbeat_s: float
    dropped: list[tuple[int, int]]


class Leases(msgspec.Struct, frozen=True, tag="leases"):
    """Tasks to run, and the specs among them that this connection has not been told yet."""

    leases: list[Lease]
    specs: dict[int, Spec]


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Attempts whose results are committed, or which nobody waits for any more."""

    attempts: list[tuple[int, int]]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Attempts to end."""

    attempts: list[tuple[int, int]]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The hub does not take this executor; it need not come again."""

    why: str


ToHub = Hello | Ready | Progress | Output | Results | Returned | Beat
FromHub = Welcome | Leases | Ack | Cancel | Refused

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_to_hub = msgspec.msgpack.Decoder(ToHub).decode
decode_from_hub = msgspec.msgpack.Decoder(FromHub).decode
