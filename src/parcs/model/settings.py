"""The options a program reads once, at its door, and hands down.

Each comes from an environment variable and has a default that suits most programs:

    PARCS_FRAME_LIMIT    1GiB   the largest message, in either direction
    PARCS_KEEPALIVE      5      seconds between signs of life on a quiet channel
    PARCS_SILENCE        60     seconds without a sign of life after which a process counts as dead
    PARCS_HOST_SILENCE   4      seconds without an acknowledgement after which a machine counts as dead
    PARCS_START_TIMEOUT  60     seconds a started point has to call back
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from parcs import errors

_PASSED_ON: Final = (
    "PARCS_FRAME_LIMIT",
    "PARCS_KEEPALIVE",
    "PARCS_SILENCE",
    "PARCS_HOST_SILENCE",
    "PARCS_START_TIMEOUT",
    "PARCS_QUIET",
    "PARCS_DEBUG",
)
"""Variables that go along into a cluster, where nothing is inherited."""

_UNITS = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?B|B|)\s*")


class Settings(NamedTuple):
    """Limits and times of a program's channels. Sizes in bytes, times in seconds.

    ``keepalive_s`` of 0 sends none. ``host_silence_s`` looks at acknowledgements, which the peer's kernel
    gives whatever its process does. ``silence_s`` looks at the process itself, and is long because a
    Python process inside a long C call cannot show a sign of life.
    """

    frame_limit: int = 1 << 30
    keepalive_s: float = 5.0
    silence_s: float = 60.0
    host_silence_s: float = 4.0
    start_timeout_s: float = 60.0
    handshake_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0


def parse_size(text: str, what: str) -> int:
    """Read a size such as ``64MiB`` or ``1000000``, in bytes.

    Raises:
        SettingsError: it is something else.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise errors.SettingsError(f"{what} is {text!r}; it should be a size such as 64MiB or 1000000")
    return int(float(match[1]) * _UNITS[match[2]])


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that these environment variables give.

    Raises:
        SettingsError: one of them makes no sense.
    """
    settings = Settings()
    limit = environment.get("PARCS_FRAME_LIMIT")
    if limit is not None:
        size = parse_size(limit, "PARCS_FRAME_LIMIT")
        if not 1024 <= size < 1 << 56:
            raise errors.SettingsError(
                f"PARCS_FRAME_LIMIT is {limit!r}; it should be at least 1KiB and below 2**56"
            )
        settings = settings._replace(frame_limit=size)
    return settings._replace(
        keepalive_s=_seconds(environment, "PARCS_KEEPALIVE", settings.keepalive_s, 0.0),
        silence_s=_seconds(environment, "PARCS_SILENCE", settings.silence_s, 0.1),
        host_silence_s=_seconds(environment, "PARCS_HOST_SILENCE", settings.host_silence_s, 0.5),
        start_timeout_s=_seconds(environment, "PARCS_START_TIMEOUT", settings.start_timeout_s, 0.1),
    )


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings among a program's variables that those it starts in a cluster are to have too."""
    return {name: environment[name] for name in _PASSED_ON if name in environment}


def _seconds(environment: Mapping[str, str], variable: str, default: float, least: float) -> float:
    text = environment.get(variable)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value < 1e6:
        raise errors.SettingsError(
            f"{variable} is {text!r}; it should be a number of seconds, at least {least:g}"
        )
    return value
