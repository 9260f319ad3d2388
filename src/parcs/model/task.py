"""The life of a task: one table, used by the hub, the executor, the tests and the documentation.

    queued ──▶ compiling ──▶ running ──▶ succeeded        exit status 0
      ▲  │         │  │         ├──────▶ failed           another status, a signal, or a limit
      │  │         │  │         ├──────▶ timed_out        its time was over (so is a compile step's)
      │  │         │  │         ├──────▶ cancelled        somebody asked
      │  │         │  │         └──────▶ lost             its executor went silent too often
      │  │         │  └─ compile_failed
      │  └─ cancelled (somebody asked, or a task that it needs did not succeed)
      └──────── compiling, running: its executor went silent, or it has retries left

The hub is the only writer of these states, and the attempt's number the fence: what an executor says of an
earlier attempt changes nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class TaskState(StrEnum):
    """Where a task is in its life. The values are the words in the database, in the API and everywhere else."""

    QUEUED = "queued"
    COMPILING = "compiling"
    RUNNING = "running"
    COMPILE_FAILED = "compile_failed"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether the task is over."""
        return not TRANSITIONS[self]


_S = TaskState

TRANSITIONS: Final[dict[TaskState, frozenset[TaskState]]] = {
    _S.QUEUED: frozenset({_S.COMPILING, _S.RUNNING, _S.CANCELLED}),
    _S.COMPILING: frozenset(
        {
            _S.RUNNING,
            _S.COMPILE_FAILED,
            _S.TIMED_OUT,
            _S.CANCELLED,
            _S.FAILED,
            _S.SUCCEEDED,
            _S.QUEUED,
            _S.LOST,
        }
    ),
    _S.RUNNING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.TIMED_OUT, _S.CANCELLED, _S.QUEUED, _S.LOST}),
    _S.COMPILE_FAILED: frozenset(),
    _S.FAILED: frozenset(),
    _S.SUCCEEDED: frozenset(),
    _S.TIMED_OUT: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.LOST: frozenset(),
}
"""Compiling may end as succeeded: an executor reports its last step only, when both were quick."""

FINAL: Final = tuple(state for state in _S if state.is_final)
RETRIED: Final = frozenset({_S.FAILED, _S.TIMED_OUT})
"""Ends after which a task with retries left is queued again. A program that does not compile never will."""

LOSSES: Final = 3
"""How many executors may go silent over a task before it is lost; as many as its retries, if those are more."""


def after_attempt(outcome: TaskState, attempt: int, retries: int) -> TaskState:
    """The state that follows when an attempt (counted from 1) has ended as ``outcome``."""
    return _S.QUEUED if outcome in RETRIED and attempt <= retries else outcome


def after_loss(attempt: int, retries: int) -> TaskState:
    """The state that follows when an attempt's executor has gone silent."""
    return _S.QUEUED if attempt < max(LOSSES, retries + 1) else _S.LOST
