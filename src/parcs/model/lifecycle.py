"""The life of a point: one table, and the record of how it ended.

    starting --> running --> succeeded      it exited with status 0
        |  |        |------> failed         another status, or a signal it was not sent by us
        |  |        '------> stopping --> stopped
        |  '---------------> stopping       before it ran
        '--> failed                         its command could not be run, or no machine was found for it

The engine server is the only writer of these states; everybody else reads them from its answers.
"""

from __future__ import annotations

import signal as signals
from enum import Enum
from typing import Any, Final, NamedTuple


class PointState(Enum):
    """Where a point is in its life. The values are the words on the wire."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether the point is over."""
        return not TRANSITIONS[self]


class PointEvent(Enum):
    """What can happen to a point."""

    STARTED = "started"
    NOT_STARTED = "not-started"
    STOP = "stop"
    EXITED_WELL = "exited-well"
    EXITED_BADLY = "exited-badly"


TRANSITIONS: Final[dict[PointState, dict[PointEvent, PointState]]] = {
    PointState.STARTING: {
        PointEvent.STARTED: PointState.RUNNING,
        PointEvent.NOT_STARTED: PointState.FAILED,
        PointEvent.STOP: PointState.STOPPING,
    },
    PointState.RUNNING: {
        PointEvent.STOP: PointState.STOPPING,
        PointEvent.EXITED_WELL: PointState.SUCCEEDED,
        PointEvent.EXITED_BADLY: PointState.FAILED,
    },
    PointState.STOPPING: {
        PointEvent.STARTED: PointState.STOPPING,
        PointEvent.NOT_STARTED: PointState.STOPPED,
        PointEvent.STOP: PointState.STOPPING,
        PointEvent.EXITED_WELL: PointState.STOPPED,
        PointEvent.EXITED_BADLY: PointState.STOPPED,
    },
    PointState.SUCCEEDED: {},
    PointState.FAILED: {},
    PointState.STOPPED: {},
}


def advance(state: PointState, event: PointEvent) -> PointState:
    """The state after ``event``.

    Raises:
        ValueError: the table has no such move.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a {state.value} point cannot be {event.value}") from None


class Ending(NamedTuple):
    """How a point's process ended, and what it said last.

    ``exit_code`` is None if a signal ended it; ``signal`` is None if it exited. ``reason`` is set when
    there was never a process, or nobody can say how it ended: why. ``cause`` is then ``node-lost`` if its
    machine is gone, ``no-room`` if none would take it.
    """

    exit_code: int | None
    signal: int | None
    node: str
    last_lines: list[str]
    reason: str = ""
    cause: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether it exited with status 0."""
        return self.exit_code == 0

    def describe(self) -> str:
        """One sentence, and the last lines below it."""
        if self.reason:
            text = self.reason
        elif self.signal is not None:
            text = f"ended by {_signal_name(self.signal)}{_SIGNAL_HINTS.get(self.signal, '')}"
        else:
            text = f"exited with status {self.exit_code}"
        if self.node and not self.cause:
            text += f" on {self.node}"
        if self.last_lines:
            text += "; its last lines:\n" + "\n".join(f"    {line}" for line in self.last_lines)
        elif not self.reason:
            text += ", without a word"
        return text

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Ending:
        """Read what `_asdict` wrote."""
        return cls(
            value.get("exit_code"),
            value.get("signal"),
            str(value.get("node", "")),
            [str(line) for line in value.get("last_lines", [])],
            str(value.get("reason", "")),
            str(value.get("cause", "")),
        )


_SIGNAL_HINTS: Final = {
    int(signals.SIGKILL): " (killed from outside, or out of memory: see the kernel's log)",
    int(signals.SIGSEGV): " (a crash in native code)",
}


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
