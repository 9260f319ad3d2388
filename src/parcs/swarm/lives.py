"""The lives of runners and points: what Docker says of their tasks, and what follows from it.

In: tasks and nodes, from the watcher. Out: states and endings in the jobs, events to creators, services removed.
Everything here happens on the server's thread; what asks Docker is handed to the pool.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from typing import Any, Final

from parcs import errors
from parcs.contract import engine as contract
from parcs.dockerapi import services, tasks
from parcs.dockerapi.nodes import Node
from parcs.dockerapi.tasks import Task
from parcs.engine.server import Answer
from parcs.engine.space import ControlSpace, PointRecord
from parcs.model.lifecycle import Ending, PointEvent, PointState, advance
from parcs.swarm import names
from parcs.swarm.job import Group, Job, Member
from parcs.swarm.output import Output
from parcs.swarm.state import SUSPECT_S, State

logger = logging.getLogger("parcs.engine")

_STOP_S: Final = 1.0
"""How long points have to end by themselves once they were told, before their service is removed."""
_ABSENCE_S: Final = 8.0
"""How long a runner may be without a connection, having said no goodbye, before it counts as gone."""
_PENDING_S: Final = 1.5
"""How long Swarm may say that no node takes a task before it is believed."""
_VANISHED_S: Final = 3.0
"""How long a task may be missing from Swarm's list before it counts as removed by somebody."""
_SWEEP_S: Final = 2.0
"""How often leftovers are looked for, and how old a service must be to be one."""


class Lives:
    """Watches over everything that runs."""

    def __init__(self, state: State, output: Output) -> None:
        self._state, self._output = state, output
        self._swept = self._ticked = 0.0

    def end_job(self, job: Job, why: str = "") -> None:
        """End a job: its runner first, then whatever is left of it."""
        if job.runner is not None and job.runner_group is not None and not job.runner.state.is_final:
            job.runner.state = advance(job.runner.state, PointEvent.STOP)
            if why:
                job.add_line("engine", "", 2, why)
            self.remove(job, job.runner_group)
            self._end_member(job, job.runner_group, job.runner_group.members[1], _stopped(why))
        elif not job.is_over:
            self._finish(job)

    def _finish(self, job: Job) -> None:
        """The runner is over: so is all it started."""
        job.ended_at = time.time()
        for pool in job.warm.values():
            pool.target = 0
        for group in job.groups.values():
            for member in group.members.values():
                record = job.space.points.get(member.name)
                if record is not None and not record.state.is_final:
                    if record.state is not PointState.STOPPING:
                        job.space.advance(member.name, PointEvent.STOP)
                    job.space.end(member.name, _stopped(""), 0.0)
                    member.is_over = True
            self.remove(job, group)
        self._output.changed(job)

    def stop(self, space: ControlSpace, name: str) -> None:
        """A point's creator wants it no more. A replica cannot be ended alone: once all of a group are
        unwanted, or over, their service goes."""
        job = self._state.jobs.of(space.identity)
        found = job.find(name)
        if found is None:
            return
        group, _ = found
        self._state.watcher.hurry(2.0)
        left = [
            m for m in group.members.values() if job.space.points[m.name].state is not PointState.STOPPING
        ]
        if all(member.is_over for member in left):
            group.stopping_at = time.monotonic() + _STOP_S

    def remove(self, job: Job, group: Group) -> None:
        """Remove a group's service, once its last lines have been read."""
        if group.is_removed or group.is_borrowed:
            return
        group.is_removed = True

        def delete() -> None:
            self._state.workers.submit(self._delete, group)

        self._output.read(job, group, delete)

    def _delete(self, group: Group) -> None:
        try:
            services.remove(self._state.docker, group.service)
        except errors.DockerError as error:
            logger.warning("%s could not be removed yet: %s", group.service, error)
            self._state.server.call_soon(lambda: self._try_again(group))
            return
        self._state.server.call_soon(lambda: self._forget(group))

    def _forget(self, group: Group) -> None:
        self._state.groups.pop(group.key, None)
        self._output.unfollow(group)

    def _try_again(self, group: Group) -> None:
        group.is_removed, group.stopping_at = False, time.monotonic() + 1.0

    def take_watched(self, found: list[Task], machines: list[Node], asked_at: float) -> None:
        """Draw the conclusions from what Swarm said at ``asked_at`` (monotonic)."""
        for node in machines:
            before = self._state.nodes.get(node.id)
            if before is not None and before.state != "ready" and node.state == "ready":
                # Its containers' network needs up to a minute more than the node itself.
                self._state.suspects[node.id] = time.monotonic() + SUSPECT_S
        self._state.nodes = {node.id: node for node in machines}
        seen: set[tuple[str, int]] = set()
        is_starting = False
        for task in found:
            job, group = self._state.groups.get(task.labels.get(names.GROUP, ""), (None, None))
            member = group.members.get(task.slot) if group else None
            if job is None or group is None or member is None:
                continue
            seen.add((group.key, task.slot))
            if not member.is_over:
                whose, within = member.taken_by or (job, group)
                self._observe(whose, within, member, task)
                is_starting = is_starting or member.state not in ("running", "complete", "failed")
        for job, group in list(self._state.groups.values()):
            is_old = asked_at - _VANISHED_S > group.seen_at
            for slot, member in group.members.items():
                if member.is_over or (group.key, slot) in seen:
                    continue
                if group.is_removed or (is_old and slot <= group.asked):
                    whose, within = member.taken_by or (job, group)
                    self._end_member(whose, within, member, _vanished(member))
            if any((group.key, slot) in seen for slot in group.members):
                group.seen_at = asked_at
        if is_starting:
            self._state.watcher.hurry(0.5)

    def _observe(self, job: Job, group: Group, member: Member, task: Task) -> None:
        node = self._state.nodes.get(task.node)
        if member.task != task.id:
            member.task = task.id
            self._output.take_early(job, self._state.groups[member.group][1], member)
        member.node = node.name if node else member.node
        member.address = task.address or member.address
        before = member.state
        member.observe(task.state, task.changed_at)
        if task.is_over:
            self._on_over(job, group, member, task)
        elif node is not None and node.state == "down":
            self._end_member(job, group, member, _node_lost(node.name))
        elif task.state == "pending" and task.error and time.time() - task.created_at > _PENDING_S:
            ending = Ending(None, None, "", [], f"no node takes it: {task.error}", "no-room")
            self._end_member(job, group, member, ending)
        elif task.state == "running" and before != "running":
            self._on_running(job, group, member)

    def _on_running(self, job: Job, group: Group, member: Member) -> None:
        if group is job.runner_group and job.runner is not None:
            if job.runner.state is PointState.STARTING:
                job.runner.state = advance(job.runner.state, PointEvent.STARTED)
            self._output.changed(job)
            return
        record = job.space.points.get(member.name)
        if record is None:
            return  # a warm point that nobody has taken yet
        if record.state is PointState.STARTING:
            job.space.advance(member.name, PointEvent.STARTED)
        event = contract.running_event(member.name, member.node, member.address)
        self._state.server.tell(job.space, group.creator, event)

    def _on_over(self, job: Job, group: Group, member: Member, task: Task) -> None:
        """A task has ended. What it said last is read before anybody is told, if it ended badly."""
        member.is_over = True
        if task.state == "complete":
            ending = Ending(0, None, member.node, [])
        elif task.state == "rejected" or (task.state == "failed" and not task.exit_code):
            reason = task.error or task.message or "its container could not be started"
            ending = Ending(None, None, member.node, [], reason)
        elif task.exit_code > 128:
            ending = Ending(None, task.exit_code - 128, member.node, [])
        else:
            ending = Ending(task.exit_code, None, member.node, [])
        if ending.is_clean and group is not job.runner_group:
            self._end_member(job, group, member, ending)
            return

        record = job.space.points.get(member.name)
        if record is not None and record.state is PointState.STOPPING:
            self._end_member(job, group, member, ending)  # it was told to: nobody asks what it said
            return

        def finish() -> None:
            last = [] if ending.is_clean else job.last_lines(member.name)
            self._end_member(job, group, member, ending._replace(last_lines=last))

        self._output.read(job, self._state.groups[member.group][1], finish)

    def _end_member(self, job: Job, group: Group, member: Member, ending: Ending) -> None:
        member.is_over = True
        if group is job.runner_group:
            self._end_runner(job, group, ending)
        elif group.pool is not None:
            self._on_warm_end(job, group, member, ending)
        else:
            record = job.space.points.get(member.name)
            if record is not None and not record.state.is_final:
                _note_that_it_ran(record, ending)
                usage = job.usage.get(member.name)
                self._state.server.on_ended(job.space, member.name, ending, usage.cpu_s if usage else 0.0)
        for whose, within in {(job, group), self._state.groups.get(member.group, (job, group))}:
            if within.is_over and not within.is_borrowed:
                self.remove(whose, within)
        self._output.changed(job)

    def _on_warm_end(self, job: Job, group: Group, member: Member, ending: Ending) -> None:
        """A warm point ended before anybody took it: whoever waits for it is told, not left waiting."""
        pool = group.pool
        if pool is not None and not group.is_dropped and member.stages.get("called") is None:
            pool.coming = max(pool.coming - 1, 0)
            why = f"a point of {group.module} that was to wait {ending.describe()}"
            pool.fail(errors.EngineError(why))

    def _end_runner(self, job: Job, group: Group, ending: Ending) -> None:
        assert job.runner is not None
        if not job.runner.state.is_final:
            _note_that_it_ran(job.runner, ending)
            job.runner.end(ending, 0.0)
            self._finish(job)

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < 0.2:
            return
        self._ticked = now
        for job, group in list(self._state.groups.values()):
            if group.stopping_at is not None and now >= group.stopping_at and not group.is_removed:
                self.remove(job, group)
        for job in list(self._state.jobs.by_space.values()):
            if not job.is_over and job.absent_since is not None and now - job.absent_since > _ABSENCE_S:
                job.absent_since = None
                logger.warning("%s has gone without a goodbye; what it started is ended", job.name)
                self.end_job(job, "the runner's connection is lost; what it started is ended")
        if now - self._swept > _SWEEP_S:
            self._swept = now
            self.sweep()  # if Docker does not answer, the watcher says so

    def sweep(self) -> Answer:
        """Remove services of jobs that are over, or that nobody knows; gives the names of the services."""
        future: Future[dict[str, Any]] = Future()

        def then(found: list[services.Service]) -> None:
            future.set_result({"removed": self._remove_strays(found)})

        self._state.in_background(lambda: services.find(self._state.docker, names.JOB), then, future)
        return future

    def _remove_strays(self, found: list[services.Service]) -> list[str]:
        removed = []
        for service in found:
            job = self._state.jobs.by_space.get(service.labels.get(names.JOB, ""))
            is_young = time.time() - tasks.parse_time(service.created_at) < _SWEEP_S
            is_needed = job is not None and (
                not job.is_over or time.time() - (job.ended_at or 0.0) < _SWEEP_S
            )
            if not is_young and not is_needed:
                logger.warning("%s is left over from a job that is gone; it is removed", service.name)
                self._state.workers.submit(self._remove_stray, service.id)
                removed.append(service.name)
        return removed

    def _remove_stray(self, service: str) -> None:
        try:
            services.remove(self._state.docker, service)
        except errors.DockerError as error:
            logger.debug("the next sweep tries again: %s", error)


def _note_that_it_ran(record: PointRecord, ending: Ending) -> None:
    """Between two looks a task may have started and ended: only what could not start says a reason."""
    if record.state is PointState.STARTING and not ending.reason:
        record.state = advance(record.state, PointEvent.STARTED)


def _stopped(why: str) -> Ending:
    return Ending(None, 15, "", [], why)


def _vanished(member: Member) -> Ending:
    return Ending(None, None, member.node, [], "its service was removed by somebody else")


def _node_lost(node: str) -> Ending:
    return Ending(
        None, None, node, [],
        f"its node {node} is down or cut off; start the work again elsewhere (Pool does it by itself)",
        "node-lost",
    )  # fmt: skip
