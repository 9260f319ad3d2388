"""The engine protocol: JSON messages over one version 2 connection (role ``engine``).

A program sends requests, ``{"id": 7, "do": "start", ...}``, and gets ``{"id": 7, "ok": {...}}`` or
``{"id": 7, "error": {"type": ..., "message": ...}}``. Starting points needs the first two:

    start     run COUNT points of a module; they call the given address back
    stop      end points
    status    what became of points
    called    these points have called back (for timelines)
    usage     what this program has taken of its machine, and what its channels have carried, so far
    lost      a point's machine does not answer
    warm      keep so many started points of a module waiting
    waiting   this program is blocked on these channels (none: it goes on)
    report    what this program's channels carried; while tracing, each message
    result    the value the job's runner returned

The server sends events of its own accord: ``{"event": "ended", ...}`` to the creator of a point that
ended, ``{"event": "deadlock", ...}`` to programs that wait for each other.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.model.lifecycle import Ending

ENGINE_VARIABLE: Final = "PARCS_ENGINE"
TOKEN_VARIABLE: Final = "PARCS_TOKEN"  # noqa: S105  # a name, no secret
CALL_VARIABLE: Final = "PARCS_CALL"
POINT_VARIABLE: Final = "PARCS_POINT"
SPACE_VARIABLE: Final = "PARCS_SPACE"
SLOT_VARIABLE: Final = "PARCS_SLOT"
FIRST_VARIABLE: Final = "PARCS_FIRST"
NODE_VARIABLE: Final = "PARCS_NODE"
WARM_VARIABLE: Final = "PARCS_WARM"
CERTIFICATE_VARIABLE: Final = "PARCS_CERTIFICATE"
TRACE_VARIABLE: Final = "PARCS_TRACE"
QUIET_VARIABLE: Final = "PARCS_QUIET"

RUNNER: Final = "runner"
"""The name of a job's first program in its control space."""


class Start(NamedTuple):
    """Run ``number`` points of ``module``; each calls ``call`` and shows its name as ticket.

    A request with the ``key`` of an earlier one is that one again: nothing more is started.
    """

    module: str
    number: int
    call: str
    environment: dict[str, str]
    resources: dict[str, Any]
    key: str = ""


class Waiting(NamedTuple):
    """A blocked program. ``channels`` are what could wake it; any one is enough.

    ``counts`` has, for each of its channels, how many messages it has sent and received there.
    """

    report: int
    channels: list[WaitedFor]
    counts: dict[str, tuple[int, int]]


class WaitedFor(NamedTuple):
    """One channel a program is blocked on: to receive, or (``sending``) until its peer reads."""

    channel: str
    peer: str
    sending: bool


class Traffic(NamedTuple):
    """What a program's channel has carried, as that program counts; bytes of bodies.

    ``waits``: the program just now waits there, to ``recv`` or to ``send``; or it is empty.
    """

    channel: str
    peer: str
    sent: int
    received: int
    bytes_sent: int
    bytes_received: int
    waits: str


class Usage(NamedTuple):
    """What a program has taken so far: processor seconds, bytes of memory; and its channels that changed."""

    cpu_s: float
    memory: int
    channels: list[Traffic]


class Report(NamedTuple):
    """What a program's channels carried, and what it cost. Seconds; bytes of bodies.

    ``busy_s`` is processor time of its own work, ``elapsed_s`` how long that work took on the clock,
    ``waited_s`` how long it was blocked in recv.

    An event is ``[kind, channel, peer, number, bytes, begin, end]``: kind ``send``, ``recv`` or ``run``,
    times in seconds since the epoch.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    waited_s: float
    busy_s: float
    elapsed_s: float
    language: str
    events: list[list[Any]]


def parse_start(body: dict[str, Any]) -> Start:
    """Read a start request.

    Raises:
        EngineError: a field is missing or makes no sense.
    """
    module, count, call = body.get("module"), body.get("count", 1), body.get("call")
    environment, resources = body.get("environment", {}), body.get("resources", {})
    if not isinstance(module, str) or not module or not isinstance(call, str):
        raise errors.EngineError("start: 'module' and 'call' should be strings")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100_000:
        raise errors.EngineError(f"start: 'count' is {count!r}; it should be from 1 to 100000")
    if not isinstance(environment, dict) or not all(
        isinstance(key, str) and isinstance(value, str) and key and "=" not in key and "\0" not in key + value
        for key, value in environment.items()
    ):
        raise errors.EngineError("start: 'environment' should map names to strings")
    if not isinstance(resources, dict):
        raise errors.EngineError("start: 'resources' should be an object")
    key = body.get("key", "")
    if not isinstance(key, str) or len(key) > 32 or (key and not key.isalnum()):
        raise errors.EngineError("start: 'key' should be at most 32 letters and digits")
    return Start(module, count, call, environment, resources, key)


def parse_names(body: dict[str, Any]) -> list[str]:
    """Read the ``points`` of a stop or status request.

    Raises:
        EngineError: they are no list of names.
    """
    names = body.get("points", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise errors.EngineError("'points' should be a list of names")
    return names


def parse_waiting(body: dict[str, Any]) -> Waiting:
    """Read a waiting request.

    Raises:
        EngineError: it makes no sense.
    """
    try:
        channels = [WaitedFor(str(c[0]), str(c[1]), bool(c[2])) for c in body["channels"]]
        counts = {str(key): (int(sent), int(received)) for key, (sent, received) in body["counts"].items()}
        return Waiting(int(body["report"]), channels, counts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise errors.EngineError(f"waiting: {error!r}") from None


def parse_usage(body: dict[str, Any]) -> Usage:
    """Read a usage request.

    Raises:
        EngineError: it makes no sense.
    """
    try:
        channels = [
            Traffic(
                str(c[0]), str(c[1]), int(c[2]), int(c[3]), int(c[4]), int(c[5]),
                c[6] if c[6] in ("recv", "send") else "",
            )
            for c in body.get("channels", [])
        ]  # fmt: skip
        return Usage(float(body.get("cpu_s", 0.0)), int(body.get("memory", 0)), channels)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise errors.EngineError(f"usage: {error!r}") from None


def parse_report(body: dict[str, Any]) -> Report:
    """Read a report request.

    Raises:
        EngineError: it makes no sense.
    """
    try:
        return Report(
            int(body["messages_sent"]),
            int(body["messages_received"]),
            int(body["bytes_sent"]),
            int(body["bytes_received"]),
            float(body["waited_s"]),
            float(body["busy_s"]),
            float(body.get("elapsed_s", 0.0)),
            str(body["language"]),
            [list(event) for event in body.get("events", [])],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise errors.EngineError(f"report: {error!r}") from None


def ended_event(point: str, ending: Ending) -> dict[str, Any]:
    """The event that tells a creator of a point's end."""
    return {"event": "ended", "point": point, "ending": ending._asdict()}


def take_event(name: str, call: str, environment: dict[str, str]) -> dict[str, Any]:
    """The event that gives a warm point its name, its creator and its job."""
    return {"event": "take", "point": name, "call": call, "environment": environment}


def dismissed_event() -> dict[str, Any]:
    """The event that tells a warm point that nobody will want it."""
    return {"event": "dismissed"}


def parse_warm(body: dict[str, Any]) -> tuple[str, int]:
    """Read a warm request: module and count.

    Raises:
        EngineError: it makes no sense.
    """
    module, count = body.get("module"), body.get("count")
    if not isinstance(module, str) or not module:
        raise errors.EngineError("warm: 'module' should be a string")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= 10_000:
        raise errors.EngineError(f"warm: 'count' is {count!r}; it should be from 0 to 10000")
    return module, count


def running_event(point: str, node: str, address: str) -> dict[str, Any]:
    """The event that tells a creator that a point's container runs, and where."""
    return {"event": "running", "point": point, "node": node, "address": address}


_RAISED: Final = {
    kind.__name__: kind
    for kind in (
        errors.UnknownModuleError,
        errors.ManifestError,
        errors.ModuleBuildError,
        errors.SettingsError,
        errors.ParameterError,
        errors.SwarmError,
        errors.NoRoomError,
        errors.ImageMissingError,
    )
}


def error_to_json(error: errors.ParcsError) -> dict[str, str]:
    """An error as the body of a refusal."""
    return {"type": type(error).__name__, "message": str(error)}


def error_from_json(body: dict[str, Any]) -> errors.ParcsError:
    """The error to raise for a refusal."""
    kind = _RAISED.get(str(body.get("type")), errors.EngineError)
    error: errors.ParcsError = kind.__new__(kind)
    error.args = (str(body.get("message")),)
    return error
