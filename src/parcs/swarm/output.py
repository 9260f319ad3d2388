"""What the programs of jobs print: from Swarm's streams to the jobs' lines, and who waits for more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from parcs.dockerapi.services import LogLine
from parcs.swarm import logs
from parcs.swarm.job import Group, Job, Member
from parcs.swarm.state import State


class Output:
    """Keeps the lines of all jobs. On the server's thread, but for what follows the streams."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._fresh: deque[tuple[Job, Group, LogLine]] = deque()
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    def on_change(self, job: Job, listener: Callable[[], None]) -> None:
        """Call once at the job's next change."""
        self._listeners.setdefault(job.space.identity, []).append(listener)

    def changed(self, job: Job) -> None:
        """Tell who listens."""
        for listener in self._listeners.pop(job.space.identity, []):
            listener()

    def follow(self, job: Job, group: Group) -> None:
        """Take a group's lines as they come."""

        def take(line: LogLine) -> None:
            is_first = not self._fresh
            self._fresh.append((job, group, line))
            if is_first:
                self._state.server.call_soon(self._take_lines)

        group.follower = logs.Follower(self._state.docker, group.service, take)

    def unfollow(self, group: Group) -> None:
        """Its service is gone."""
        if group.follower is not None:
            group.follower.close()
            group.follower = None

    def _take_lines(self) -> None:
        changed = {}
        while self._fresh:
            job, group, line = self._fresh.popleft()
            member = next((m for m in group.members.values() if m.task == line.task), None)
            if member is None:
                group.early.append(line)  # its task has not been seen yet
                continue
            whose = member.taken_by[0] if member.taken_by else job
            self._add_line(whose, group, member, line)
            changed[whose.space.identity] = whose
        for job in changed.values():
            self.changed(job)

    def _add_line(self, job: Job, group: Group, member: Member, line: LogLine) -> None:
        if not member.is_read:  # else the second reading had it already
            self.take_early(job, group, member)
            self._keep_line(job, member, line)

    def take_early(self, job: Job, group: Group, member: Member) -> None:
        """Lines that came before it was known whose they are."""
        mine = [line for line in group.early if line.task == member.task]
        if mine:
            group.early = [line for line in group.early if line.task != member.task]
            for line in mine:
                self._keep_line(job, member, line)
            self.changed(job)

    def _keep_line(self, job: Job, member: Member, line: LogLine) -> None:
        node = self._state.nodes.get(line.node)
        member.lines_seen += 1
        job.add_line(member.name, node.name if node else member.node, line.stream, line.text)

    def complete(self, job: Job, group: Group, lines: dict[str, list[LogLine]]) -> None:
        """Add what following missed."""
        self._take_lines()
        for member in group.members.values():
            if member.task in lines and not member.is_read:
                whose = member.taken_by[0] if member.taken_by else job
                for line in lines[member.task][member.lines_seen :]:
                    self._keep_line(whose, member, line)
                member.is_read = member.is_over
                self.changed(whose)

    def read(self, job: Job, group: Group, then: Callable[[], None]) -> None:
        """Read a service's output whole, then go on. One reading at a time serves all who wait for one."""
        group.readers.append(then)
        if group.is_reading:
            return
        group.is_reading = True
        waiting, group.readers = group.readers, []

        def work() -> None:
            lines = logs.read(self._state.docker, group.service)
            self._state.server.call_soon(lambda: finish(lines))

        def finish(lines: dict[str, list[LogLine]]) -> None:
            group.is_reading = False
            self.complete(job, group, lines)
            for go_on in waiting:
                go_on()
            if group.readers:
                self.read(job, group, lambda: None)

        self._state.workers.submit(work)
