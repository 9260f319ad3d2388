"""What the channels of a job carry, put together from what the programs at their two ends tell. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from parcs.contract.engine import Traffic
from parcs.contract.jobs import Flow

_MOST: Final = 10_000
"""Channels of a job that are remembered, the latest."""


class Flows:
    """The channels of a job. An end that was handed on leaves the part that it had before as it was."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], dict[str, Traffic]] = {}

    def take(self, program: str, traffic: Traffic) -> None:
        """A program tells what its end of a channel has carried."""
        one, other = sorted((program, traffic.peer))
        key = (traffic.channel, one, other)
        if key not in self._told and len(self._told) >= _MOST:
            del self._told[next(iter(self._told))]
        self._told.setdefault(key, {})[program] = traffic

    def rows(self, is_there: Callable[[str], bool]) -> list[Flow]:
        """Every channel, those with the most bytes first.

        Args:
            is_there: whether a program still runs: who has ended waits for nobody.
        """
        found = [_flow(key, ends, is_there) for key, ends in self._told.items()]
        return sorted(found, key=lambda flow: (-flow.bytes_sent - flow.bytes_received, flow.one, flow.other))


def _flow(key: tuple[str, str, str], ends: dict[str, Traffic], is_there: Callable[[str], bool]) -> Flow:
    channel, one, other = key
    mine, theirs = ends.get(one), ends.get(other)
    # A message under way, or a program that told nothing, is in the books of one end only.
    return Flow(
        channel,
        one,
        other,
        max(mine.sent if mine else 0, theirs.received if theirs else 0),
        max(mine.received if mine else 0, theirs.sent if theirs else 0),
        max(mine.bytes_sent if mine else 0, theirs.bytes_received if theirs else 0),
        max(mine.bytes_received if mine else 0, theirs.bytes_sent if theirs else 0),
        {name: end.waits for name, end in ends.items() if end.waits and is_there(name)},
    )
