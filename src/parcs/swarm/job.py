"""One job on a Swarm as the engine server keeps it: its space, its runner, its groups of points, its lines. Pure.

A group is the points of one start request: one Swarm service. A point is known by group and slot, because
Swarm numbers a service's containers from 1.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final, NamedTuple

from parcs.contract.engine import RUNNER, Usage
from parcs.contract.jobs import Flow
from parcs.engine.space import ControlSpace, PointRecord
from parcs.engine.warm import WarmPool
from parcs.swarm import names
from parcs.swarm.flows import Flows

_MOST_LINES: Final = 20_000
_LONGEST_LINE: Final = 16_384

STAGES: Final = ("accepted", "scheduled", "image", "created", "running", "called")
"""What a point's start goes through: the request came; a node was chosen; the image is being made ready there;
the container is being made; it runs; it has called its creator back."""

_STAGE_OF_STATE: Final = {
    "assigned": "scheduled",
    "preparing": "image",
    "ready": "created",
    "starting": "created",
    "running": "running",
}


class Line(NamedTuple):
    """One line of a job's output. ``number`` counts from 1; ``stream`` is 1 or 2."""

    number: int
    time: float
    source: str
    node: str
    stream: int
    text: str


class Member:
    """One point (or the runner) as a task of Swarm.

    Attributes:
        group: the key of the group whose service it is one of.
        taken_by: the job and group of a warm point that was taken; its service stays the warm one.
    """

    def __init__(self, name: str, group: str) -> None:
        self.name, self.group = name, group
        self.task = self.node = self.address = ""
        self.state = "new"
        self.stages: dict[str, float] = {}
        self.is_over = False
        self.lines_seen = 0
        self.is_read = False
        self.taken_by: tuple[Job, Group] | None = None

    def observe(self, state: str, at: float) -> None:
        """Swarm says: the task has been in ``state`` since ``at``."""
        self.state = state
        stage = _STAGE_OF_STATE.get(state)
        if stage:
            self.stages.setdefault(stage, at)


class Group:
    """The points of one start request: one service of as many replicas.

    Attributes:
        key: the value of its label; also what makes repeating a request harmless.
        service: its name; that of the warm points' service where they were taken.
        is_borrowed: its members belong to the service of a warm group, which is removed with that.
        pool: whose points these are, while they wait.
        stopping_at: when the service is to be removed whatever its points do; None while it is wanted.
        asked: how many replicas its service has been asked for: a large group starts in waves.
    """

    def __init__(
        self,
        key: str,
        service: str,
        module: str,
        launcher: str,
        creator: str,
        members: list[str],
        protocol: int,
    ) -> None:
        self.key, self.service, self.module, self.launcher = key, service, module, launcher
        self.creator, self.protocol = creator, protocol
        self.members = {slot: Member(name, key) for slot, name in enumerate(members, 1)}
        self.asked = len(self.members)
        self.is_growing = False
        self.language = ""
        self.is_dropped = False
        self.sessions: list[Any] = []
        self.stopping_at: float | None = None
        self.seen_at = time.monotonic()
        self.is_borrowed = False
        self.pool: WarmPool | None = None
        self.is_removed = False
        self.early: list[Any] = []
        self.is_reading = False
        self.readers: list[Any] = []
        self.follower: Any = None

    @property
    def is_over(self) -> bool:
        """Whether all of its points have ended."""
        return all(member.is_over for member in self.members.values())

    @property
    def begun(self) -> int:
        """How many of its points run, or have run."""
        return sum(member.is_over or member.state == "running" for member in self.members.values())

    def member(self, name: str) -> Member | None:
        """The point of that name, if it is one of these."""
        return next((member for member in self.members.values() if member.name == name), None)


class Job:
    """One job.

    Attributes:
        owner: ``cluster`` if its runner is a service here, ``outside`` if it is a program elsewhere.
        runner: the runner's life; None for a program outside.
        aliases: images that stand for modules' names in this job, before the registry is asked.
        absent_since: since when a program outside has had no connection.
    """

    def __init__(self, name: str, module: str, owner: str, space: str) -> None:
        self.name, self.module, self.owner = name, module, owner
        self.space = ControlSpace(space)
        self.groups: dict[str, Group] = {}
        self.runner = (
            PointRecord(RUNNER, module, "", "", time.time()) if owner == names.OWNER_CLUSTER else None
        )
        self.runner_group: Group | None = None
        self.created_at = time.time()
        self.ended_at: float | None = None
        self.absent_since: float | None = None
        self.usage: dict[str, Usage] = {}
        self.flows = Flows()
        self.aliases: dict[str, str] = {}
        self.pinned: dict[str, Any] = {}
        self.warm: dict[str, WarmPool] = {}
        self.lines: deque[Line] = deque(maxlen=_MOST_LINES)
        self._last_line = 0

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    @property
    def state(self) -> str:
        """Its runner's state; ``running`` while a program outside is connected."""
        if self.runner is not None:
            return self.runner.state.value
        return "ended" if self.is_over else "running"

    def add_line(self, source: str, node: str, stream: int, text: str) -> None:
        """One line of output."""
        self._last_line += 1
        self.lines.append(Line(self._last_line, time.time(), source, node, stream, text[:_LONGEST_LINE]))

    def lines_after(self, number: int, most: int = 1000) -> list[Line]:
        """The lines after line ``number``; the oldest may be gone."""
        if not self.lines or self.lines[-1].number <= number:
            return []
        skipped = max(number - self.lines[0].number + 1, 0)
        return [self.lines[i] for i in range(skipped, min(skipped + most, len(self.lines)))]

    def last_lines(self, source: str, most: int = 20) -> list[str]:
        """The last lines of one program."""
        found = [line.text for line in self.lines if line.source == source]
        return found[-most:]

    def note_usage(self, program: str, usage: Usage) -> None:
        """A program tells what it has taken, and what its channels have carried."""
        self.usage[program] = usage._replace(channels=[])
        for each in usage.channels:
            self.flows.take(program, each)

    def channels(self) -> list[Flow]:
        """What its channels carry, those with the most bytes first."""
        return self.flows.rows(self._is_there)

    def _is_there(self, program: str) -> bool:
        record = self.runner if program == RUNNER else self.space.points.get(program)
        return not self.is_over and (record is None or not record.state.is_final)

    def find(self, point: str) -> tuple[Group, Member] | None:
        """A point's group and membership."""
        for group in [*self.groups.values(), *([self.runner_group] if self.runner_group else [])]:
            member = group.member(point)
            if member is not None:
                return (member.taken_by[1] if member.taken_by else group), member
        return None

    def to_json(self) -> dict[str, Any]:
        """A row of ``parcs jobs``."""
        ending = self.runner.ending if self.runner else None
        return {
            "job": self.name,
            "module": self.module,
            "owner": self.owner,
            "state": self.state,
            "points": len(self.space.points),
            "created_at": self.created_at,
            "ended_at": self.ended_at,
            "exit_code": exit_code(ending) if ending else None,
            "result": self.space.result if self.is_over else None,
            "why": ending.describe() if ending and not ending.is_clean else "",
        }

    def points_to_json(self) -> list[dict[str, Any]]:
        """Rows of ``parcs ps``: the runner first."""
        rows = [self._row(self.runner, self.runner_group)] if self.runner and self.runner_group else []
        for group in self.groups.values():
            if group.pool is not None:
                continue  # they wait; those that were taken are in groups of their own
            rows += [
                self._row(self.space.points[member.name], group)
                for member in group.members.values()
                if member.name in self.space.points
            ]
        return rows

    def _row(self, record: PointRecord, group: Group) -> dict[str, Any]:
        member = group.member(record.name)
        assert member is not None
        usage = self.usage.get(record.name)
        return {
            **record.to_json(),
            "launcher": group.launcher,
            "node": member.node,
            "task_state": member.state,
            "cpu_s": usage.cpu_s if usage else None,
            "memory": usage.memory if usage else None,
            "stages": member.stages,
        }


def exit_code(ending: Any) -> int:
    """As a shell gives it: 128 + the signal; 1 for what never ran."""
    if ending.exit_code is not None:
        return int(ending.exit_code)
    return 128 + ending.signal if ending.signal is not None else 1
