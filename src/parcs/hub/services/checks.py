"""What makes a sensible task: every rule about a request's values. Pure."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from parcs import archive, errors
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.model.demand import LEVELS, Demand, level_of

_NAME: Final = 200
_TEXT: Final = 16 << 20
_LIST: Final = 100
_COMMAND: Final = 100_000
SHOWN: Final = 500
"""Characters of a command that lists show."""
_PRIORITY: Final = 1_000_000
_RETRIES: Final = 100
_LARGEST: Final = 1 << 50
_LONGEST_S: Final = 366 * 86400.0
_USUAL: Final = contract.Limits()


def check(request: contract.TaskRequest) -> None:
    """Refuse what makes no sense.

    Raises:
        InvalidRequestError: with the field that is wrong.
    """
    check_own(request)
    words_of(request.command, "command")
    if request.compile is not None:
        words_of(request.compile.command, "compile.command")
        _number(request.compile.timeout_s, "compile.timeout_s", 0, _LONGEST_S)
    _text(request.stdin, "stdin", _TEXT)
    if request.expected is not None:
        _text(request.expected, "expected", _TEXT)
    _number(request.timeout_s or 0, "timeout_s", 0, _LONGEST_S)
    if request.limits != _USUAL:
        _limits(request.limits)
    for field in ("environment", "where"):
        _pairs(getattr(request, field), field)
    if len(request.outputs) > _LIST:
        raise errors.InvalidRequestError(f"has more than {_LIST} patterns", "outputs")
    for pattern in request.outputs:
        if (
            not pattern
            or pattern.startswith("/")
            or ".." in pattern.split("/")
            or "\0" in pattern
            or len(pattern) > _NAME
        ):
            raise errors.InvalidRequestError(
                f"{pattern[:50]!r} is no pattern inside the task's folder", "outputs"
            )
        if "**" in pattern and any("**" in part and part != "**" for part in pattern.split("/")):
            raise errors.InvalidRequestError(f"{pattern!r}: ** stands for folders, alone", "outputs")
    _isolation(request)
    if request.files and request.archive is not None:
        raise errors.InvalidRequestError("give files or an archive, not both", "archive")
    if request.archive is not None and (
        len(request.archive) != 64 or not set(request.archive) <= set("0123456789abcdef")
    ):
        raise errors.InvalidRequestError("is no digest of an uploaded archive", "archive")
    _array(request)


def check_own(request: contract.TaskRequest) -> None:
    """Refuse what makes no sense in the part of a request that is no part of its spec.

    Raises:
        InvalidRequestError: with the field that is wrong.
    """
    _text(request.name, "name", _NAME)
    _number(request.priority, "priority", -_PRIORITY, _PRIORITY)
    _number(request.retries, "retries", 0, _RETRIES)
    _pairs(request.labels, "labels")
    if len(request.after) > _LIST * _LIST:
        raise errors.InvalidRequestError("names too many tasks", "after")
    for number in request.after:
        _number(number, "after", 1, _LARGEST)


def likeness(request: contract.TaskRequest) -> tuple[object, ...] | None:
    """The part of a request that makes its spec, if that is a simple one: so that like ones are laid out once."""
    if request.files or request.environment or request.outputs or request.where or request.array is not None:
        return None
    command = request.command if isinstance(request.command, str) else tuple(request.command)
    step = request.compile
    compiling = None if step is None else (str(step.command), type(step.command), step.timeout_s)
    return (
        command, compiling, request.stdin, request.timeout_s, request.archive, request.expected, request.limits,
        request.isolation, request.image,
    )  # fmt: skip


def words_of(command: str | Sequence[str], field: str) -> list[str]:
    """A command as words: a line is the shell's.

    Raises:
        InvalidRequestError: it is empty.
    """
    words = ["sh", "-c", command] if isinstance(command, str) else list(command)
    if not command or not words[0] or (not words[-1].strip() and isinstance(command, str)):
        raise errors.InvalidRequestError("is empty", field)
    if any("\0" in word for word in words) or sum(map(len, words)) > _COMMAND:
        raise errors.InvalidRequestError("is too long, or has a NUL", field)
    _unicode("".join(words), field)
    return words


def shown(command: str | Sequence[str]) -> str:
    """A command as lists show it."""
    text = command if isinstance(command, str) else " ".join(command)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def spec_of(request: contract.TaskRequest, digest: str) -> wire.Spec:
    """What executors are told of a request that is well."""
    limits = request.limits
    return wire.Spec(
        command=wire.Step(words_of(request.command, "command"), request.timeout_s or 0.0),
        compile=None
        if request.compile is None
        else wire.Step(words_of(request.compile.command, "compile.command"), request.compile.timeout_s),
        stdin=request.stdin,
        archive=digest,
        environment=dict(request.environment),
        outputs=list(request.outputs),
        level=level_of(Demand(_isolation_of(request), limits.network)),
        image=request.image or "",
        cpu_s=limits.cpu_s or 0.0,
        memory=limits.memory or 0,
        processes=limits.processes,
        output=limits.output,
        files=limits.files,
        network=limits.network,
        expected=request.expected,
        is_array=request.array is not None,
    )


def request_of(
    spec: wire.Spec, task: contract.Task, after: Sequence[int], where: Mapping[str, str]
) -> contract.TaskRequest:
    """The request that a task came from, as far as it is its own: without the rest of its array."""

    def command_of(words: list[str]) -> str | list[str]:
        return words[2] if words[:2] == ["sh", "-c"] and len(words) == 3 else words

    return contract.TaskRequest(
        command=command_of(spec.command.words),
        name=task.name,
        compile=None
        if spec.compile is None
        else contract.Compile(command_of(spec.compile.words), spec.compile.timeout_s),
        stdin=spec.stdin,
        timeout_s=spec.command.timeout_s or None,
        archive=spec.archive or None,
        expected=spec.expected,
        limits=contract.Limits(
            spec.cpu_s or None, spec.memory or None, spec.processes, spec.output, spec.files, spec.network
        ),
        environment=spec.environment,
        labels=task.labels,
        priority=task.priority,
        after=after,
        outputs=spec.outputs,
        isolation=None if spec.level == "process" else spec.level,
        image=spec.image or None,
        where=where,
        array=[task.parameters] if spec.is_array else None,
    )


def demand_of(request: contract.TaskRequest) -> str:
    """What a request demands of executors, as it is kept."""
    limits = request.limits
    return _demand(
        _isolation_of(request), limits.network, limits.memory or 0, tuple(sorted(request.where.items()))
    )


@functools.lru_cache(1000)
def _demand(isolation: str, network: bool | None, memory: int, where: tuple[tuple[str, str], ...]) -> str:
    return json.dumps([isolation, network, memory, dict(where)])


def _isolation_of(request: contract.TaskRequest) -> str:
    """What is said of the isolation: an image is Docker's."""
    return request.isolation or ("docker" if request.image else "")


def demand_from_json(body: str) -> Demand:
    """A demand that was kept."""
    return Demand(*json.loads(body))


def _limits(limits: contract.Limits) -> None:
    if limits.cpu_s is not None:
        _number(limits.cpu_s, "limits.cpu_s", 0, _LONGEST_S)
    if limits.memory is not None:
        _number(limits.memory, "limits.memory", 1 << 20, _LARGEST)
    _number(limits.processes, "limits.processes", 1, 1 << 20)
    _number(limits.output, "limits.output", 0, 64 << 20)
    _number(limits.files, "limits.files", 0, 64 << 20)


def _isolation(request: contract.TaskRequest) -> None:
    if request.isolation is not None and request.isolation not in LEVELS:
        raise errors.InvalidRequestError(f"{request.isolation!r} is none of {', '.join(LEVELS)}", "isolation")
    if request.image is not None:
        _text(request.image, "image", _NAME)
    if request.isolation == "docker" and not request.image:
        raise errors.InvalidRequestError("docker needs an image", "image")
    if request.image and request.isolation not in (None, "docker"):
        raise errors.InvalidRequestError("an image is for isolation docker", "image")
    if request.isolation == "process" and request.limits.network is False:
        raise errors.InvalidRequestError("isolation process cannot take the network away", "limits.network")


def _array(request: contract.TaskRequest) -> None:
    if request.array is None:
        return
    if not request.array:
        raise errors.InvalidRequestError("has no values", "array")
    columns = request.array[0].keys()
    for row in request.array:
        if row.keys() != columns:
            raise errors.InvalidRequestError("every row must have the same names", "array")
        _pairs(row, "array")


def _pairs(pairs: Mapping[str, str], field: str) -> None:
    if not pairs:
        return
    if len(pairs) > _LIST:
        raise errors.InvalidRequestError(f"has more than {_LIST} entries", field)
    for name, value in pairs.items():
        if (
            not name
            or "=" in name
            or "\0" in name
            or "\0" in value
            or len(name) > _NAME
            or len(value) > _COMMAND
        ):
            raise errors.InvalidRequestError(
                f"{name[:50]!r} is no sensible name, or its value is too long", field
            )
        _unicode(name + value, field)


def _number(value: float, field: str, least: float, most: float) -> None:
    if not math.isfinite(value) or not least <= value <= most:
        raise errors.InvalidRequestError(f"{value:g} is not between {least:g} and {most:g}", field)


def _text(value: str, field: str, most: int) -> None:
    if len(value) > most:
        raise errors.InvalidRequestError(f"has more than {most} characters", field)
    if "\0" in value:
        raise errors.InvalidRequestError("has a NUL", field)
    _unicode(value, field)


def _unicode(value: str, field: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise errors.InvalidRequestError("is no Unicode text (half a surrogate pair)", field) from None


def files_of(request: contract.TaskRequest) -> bytes | None:
    """The archive of a request's texts; None if it has none.

    Raises:
        InvalidRequestError: a path leads out of the folder.
    """
    if not request.files:
        return None
    try:
        return archive.pack(archive.of_texts(request.files))
    except errors.ArchiveError as error:
        raise errors.InvalidRequestError(str(error), "files") from error
