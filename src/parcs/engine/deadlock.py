"""Who waits for whom, and whether nobody can move.

Each blocked program has told which channels could wake it and how many messages each of its channels has
carried. A program can still be woken over a channel if the program at the other end is not blocked, or if
it has sent more there than was received (a message is under way). Taking away whoever can be woken, again
and again, leaves the deadlocked.

Why stale reports do no harm: suppose some of the left-over had in fact moved on since its report. The first
one to do so was woken by a message of another, sent before that other's report; then the counts in the two
reports differ, and it would have been taken away.
"""

from __future__ import annotations

from collections.abc import Mapping

from parcs.contract.engine import WaitedFor, Waiting


def find(reports: Mapping[str, Waiting]) -> set[str]:
    """The names of the programs that can never go on, among those that have reported to be blocked."""
    stuck = {name for name, report in reports.items() if report.channels}
    while True:
        free = {
            name
            for name in stuck
            if any(_can_wake(name, channel, reports, stuck) for channel in reports[name].channels)
        }
        if not free:
            return stuck
        stuck -= free


def cycle(reports: Mapping[str, Waiting], stuck: set[str]) -> list[str]:
    """One cycle among the stuck, each waiting for the next."""
    at = min(stuck)
    path: list[str] = []
    while at not in path:
        path.append(at)
        at = next(channel.peer for channel in reports[at].channels if channel.peer in stuck)
    ring = path[path.index(at) :]
    first = ring.index(min(ring))
    return ring[first:] + ring[:first]


def _can_wake(name: str, waited: WaitedFor, reports: Mapping[str, Waiting], stuck: set[str]) -> bool:
    if waited.peer not in stuck:
        return True
    theirs, ours = reports[waited.peer], reports[name]
    if waited.sending:
        return any(c.channel == waited.channel and not c.sending for c in theirs.channels)
    if waited.channel not in theirs.counts or waited.channel not in ours.counts:
        return True  # one end is moving to another program
    return theirs.counts[waited.channel][0] != ours.counts[waited.channel][1]
