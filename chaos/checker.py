"""What must hold of every history, whatever the nemesis did. Pure.

- present: whatever was acknowledged is there at the end, once, and is over.
- once: a task has at most one accepted result, and shows the output of that attempt.
- legal: whoever looks at a task twice sees it go on along the edges of its states, never back.
- current: whoever looks after somebody else's look has ended sees nothing older, whichever hub is asked.
- cancelled: after a cancel was acknowledged no attempt begins, and the task ends as cancelled, or as it just ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chaos.history import Ended, History, Operation
from parcs.model.task import FINAL, TaskState

_RANK: Final = {TaskState.COMPILING: 0, TaskState.RUNNING: 1, TaskState.QUEUED: 2} | dict.fromkeys(FINAL, 3)
"""Within one attempt. An attempt that failed or was lost leaves its task queued, until the next one begins."""
_OVER: Final = 3


class Violation(NamedTuple):
    """Something that must not be."""

    rule: str
    task: int
    what: str


class Look(NamedTuple):
    """A task as it was seen once."""

    begun: float
    ended: float
    client: int
    attempt: int
    state: str

    @property
    def place(self) -> tuple[int, int]:
        """How far it had come."""
        return self.attempt, _RANK[TaskState(self.state)]


def check(history: History) -> list[Violation]:
    """Every violation of a history."""
    return [*_present(history), *_once(history), *_looks(history), *_cancelled(history)]


def _present(history: History) -> Iterator[Violation]:
    ends = {end.id: end for end in history.ends}
    by_name: dict[str, list[int]] = defaultdict(list)
    for end in history.ends:
        by_name[end.name].append(end.id)
        if TaskState(end.state) not in FINAL:
            yield Violation("present", end.id, f"it is {end.state} when all has been well for a while")
    for name, ids in by_name.items():
        if len(ids) > 1:
            yield Violation("present", ids[0], f"one submission ({name}) made tasks {sorted(ids)}")
    for each in history.operations:
        if each.verb == "submit" and each.outcome == "ok" and each.task not in ends:
            yield Violation("present", each.task, f"acknowledged at {each.ended:.1f} s, and not there")


def _once(history: History) -> Iterator[Violation]:
    for end in history.ends:
        accepted = [number for number, state in end.attempts if state == TaskState.SUCCEEDED]
        if len(accepted) > 1:
            yield Violation("once", end.id, f"attempts {accepted} both succeeded")
        if end.state == TaskState.SUCCEEDED and end.output.split() != [str(end.id), str(end.attempt)]:
            yield Violation("once", end.id, f"attempt {end.attempt} was accepted, with {end.output!r}")


def _by_task(history: History) -> dict[int, list[Look]]:
    looks: dict[int, list[Look]] = defaultdict(list)
    for each in history.operations:
        for number, attempt, state in each.seen:
            looks[number].append(Look(each.begun, each.ended, each.client, attempt, state))
    return looks


def _looks(history: History) -> Iterator[Violation]:
    looks = _by_task(history)
    for end in history.ends:
        last = float("inf")
        looks[end.id].append(Look(last, last, -1, end.attempt, end.state))
    for number, seen in looks.items():
        own: dict[int, Look] = {}
        before: list[Look] = sorted(seen, key=lambda look: look.ended)
        latest, i = None, 0
        for look in sorted(seen, key=lambda look: look.begun):
            while before[i].ended < look.begun:  # all that had ended when this one began
                if latest is None or before[i].place > latest.place:
                    latest = before[i]
                i += 1
            if (mine := own.get(look.client)) is not None and (said := _back(mine, look)):
                yield Violation("legal", number, said)
            elif latest is not None and (said := _back(latest, look)):
                yield Violation("current", number, said)
            own[look.client] = look


def _back(first: Look, then: Look) -> str:
    """Why one cannot follow the other; empty if it can."""
    is_other_end = first.place[1] == _OVER and (first.attempt, first.state) != (then.attempt, then.state)
    if then.place >= first.place and not is_other_end:
        return ""
    return (
        f"{first.state} (attempt {first.attempt}) at {first.ended:.2f} s for client {first.client}, "
        f"then {then.state} (attempt {then.attempt}) at {then.begun:.2f} to {then.ended:.2f} s "
        f"for client {then.client}"
    )


def _cancelled(history: History) -> Iterator[Violation]:
    ends = {end.id: end for end in history.ends}
    looks = _by_task(history)
    for each in history.operations:
        end = ends.get(each.task)
        if each.verb != "cancel" or each.outcome != "ok" or not each.count or end is None:
            continue
        if end.state not in (TaskState.CANCELLED, TaskState.SUCCEEDED):
            yield Violation(
                "cancelled", each.task, f"cancelled at {each.ended:.1f} s, and {end.state} at the end"
            )
        elif (later := _begun_after(looks[each.task], end, each)) is not None:
            yield Violation("cancelled", each.task, f"cancelled at {each.ended:.1f} s, and {later} after it")


def _begun_after(looks: Sequence[Look], end: Ended, cancel: Operation) -> str | None:
    """An attempt that began after a cancel: two looks after it, and the second shows a later attempt."""
    after = sorted((look for look in looks if look.begun > cancel.ended), key=lambda look: look.ended)
    if after and end.attempt > after[0].attempt:
        return f"attempt {end.attempt} {end.state}"
    for look in after:
        if look.begun > after[0].ended and look.attempt > after[0].attempt:
            return f"attempt {look.attempt} {look.state}"
    return None
