"""Starting: from a request to a service of Swarm, or to a refusal in words."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from parcs import errors
from parcs.contract import engine as contract
from parcs.contract.engine import RUNNER
from parcs.dockerapi import networks, services, tasks
from parcs.engine.server import Answer
from parcs.engine.space import ControlSpace
from parcs.image.description import Description
from parcs.model import resources as needs
from parcs.swarm import names, placement, spec
from parcs.swarm.job import Group, Job
from parcs.swarm.output import Output
from parcs.swarm.resolve import Resolved
from parcs.swarm.state import HURRY_S, SUSPECT_S, State
from parcs.swarm.waves import Waves

logger = logging.getLogger("parcs.engine")

_KEEP_JOBS: Final = 100
_KEEP_S: Final = 7 * 86400.0


class Starter:
    """Starts groups of points, and runners."""

    def __init__(self, state: State, output: Output, waves: Waves) -> None:
        self._state, self._output, self._waves = state, output, waves
        self._starts: dict[str, Answer] = {}

    def start(self, space: ControlSpace, request: contract.Start, creator: str) -> Answer:
        job = self._state.jobs.of(space.identity)
        if job.is_over:
            raise errors.EngineError(f"the job {job.name} is over")
        key = f"{job.name}-{request.key or secrets.token_hex(6)}"
        if key in self._starts:
            return self._starts[key]
        if key in self._state.groups:
            _, group = self._state.groups[key]
            return {"points": [member.name for member in group.members.values()]}
        accepted = time.time()
        future: Future[dict[str, Any]] = Future()
        self._starts[key] = future
        future.add_done_callback(lambda _: self._starts.pop(key, None))
        self._state.watcher.hurry(HURRY_S)
        asked = needs.parse(request.resources, f"resources of {request.module}")

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self.resolve(job, request.module)
            wanted = needs.merge(resolved.about.needs, asked)
            return resolved, self.preflight(request, resolved, wanted)

        def create(result: tuple[Resolved, needs.Needs]) -> None:
            job.pinned[request.module] = result[0]
            self._create(job, key, request, creator, accepted, result, future)

        self._state.in_background(prepared, create, future)
        return future

    def resolve(self, job: Job, module: str) -> Resolved:
        """A module's image, the same one through the whole job; on a thread of the pool."""
        return job.pinned.get(module) or self._state.resolver.resolve(job.aliases.get(module, module))

    def preflight(self, request: contract.Start, resolved: Resolved, wanted: needs.Needs) -> needs.Needs:
        """Refuse at once what cannot work; on a thread of the pool. Gives the needs, with where not to go."""
        if not resolved.about.command and resolved.about.protocol == 2:
            raise errors.EngineError(f"{request.module} has no command for points, only a runner")
        machines, everything = list(self._state.nodes.values()), tasks.find(self._state.docker)

        def check(where: needs.Placement) -> None:
            rooms = placement.survey(machines, everything, where, resolved.platforms)
            placement.check(rooms, wanted.resources, where, request.number, request.module)

        check(wanted.placement)
        network = networks.ensure_overlay(self._state.docker, names.NETWORK)
        used = sum(1 for task in everything if not task.is_over and task.networks)
        placement.check_addresses(networks.capacity(network), used, request.number, names.NETWORK)
        elsewhere = self._avoiding(wanted.placement)
        try:
            check(elsewhere)
        except errors.NoRoomError:
            return wanted  # only the machines in doubt have room: better those than none
        return wanted._replace(placement=elsewhere)

    def _create(
        self,
        job: Job,
        key: str,
        request: contract.Start,
        creator: str,
        accepted: float,
        result: tuple[Resolved, needs.Needs],
        future: Future[dict[str, Any]],
    ) -> None:
        """Name the points and make their service; begins on the server's thread."""
        resolved, wanted = result
        about = resolved.about
        stem = stem_of(request.module)
        first = job.space.next_number(stem, request.number)
        records = [
            job.space.add_named(f"{stem}-{first + i}", request.module, about.language, creator)
            for i in range(request.number)
        ]
        service = f"{job.name}-{stem}-{first}"[:63]
        launcher = "batch" if request.number > 1 else "service"
        group = Group(
            key, service, request.module, launcher, creator, [r.name for r in records], about.protocol
        )
        for member in group.members.values():
            member.stages["accepted"] = accepted
        job.groups[key] = group
        labels = labels_of(job, group, resolved, stem, first)
        environment = {
            **self.environment(job),
            **defaults_of(about),
            **request.environment,
            **(
                spec.group_environment(
                    stem, first, self._state.relay if request.call == "relay" else request.call
                )
                if about.protocol == 2
                else {}
            ),
        }
        launch = spec.Launch(
            service, resolved.image, about.command, request.number, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        def undo() -> None:
            for record in records:
                job.space.discard(record.name)
            job.groups.pop(key, None)

        answer = {"points": [record.name for record in records], "protocol": about.protocol}
        self.launch(job, group, launch, answer, future, undo)

    def suspect(self, job: Job, point: str) -> None:
        """A program says that a point's machine does not answer: others are used for a while."""
        found = job.find(point)
        node = next((n for n in self._state.nodes.values() if found and n.name == found[1].node), None)
        if node is not None:
            logger.warning("%s does not answer; new points go elsewhere for %.0f s", node.name, SUSPECT_S)
            self._state.suspects[node.id] = time.monotonic() + SUSPECT_S

    def _avoiding(self, placement: needs.Placement) -> needs.Placement:
        """Where points may go, less the machines that have just been lost: Swarm needs longer to notice."""
        now = time.monotonic()
        avoided = {node for node, until in self._state.suspects.items() if until > now}
        left = [node for node in self._state.nodes.values() if node.is_usable and node.id not in avoided]
        if not avoided or not left:
            return placement
        return placement._replace(
            constraints=(*placement.constraints, *(f"node.id!={node}" for node in sorted(avoided)))
        )

    def launch(
        self,
        job: Job,
        group: Group,
        launch: spec.Launch,
        answer: dict[str, Any],
        future: Future[dict[str, Any]],
        undo: Callable[[], object],
    ) -> None:
        """Have a group's service made: ``future`` gets ``answer``, or the error after ``undo``."""
        self._state.groups[group.key] = (job, group)
        group.asked = self._waves.first(launch.replicas)

        def make() -> None:
            wanted = spec.service(launch._replace(replicas=group.asked), names.NETWORK)
            services.ensure(self._state.docker, wanted, self._state.resolver.credentials(launch.image))

        def made(_: object) -> None:
            self._output.follow(job, group)
            future.set_result(answer)

        def failed() -> None:
            self._state.groups.pop(group.key, None)
            undo()

        self._state.in_background(make, made, future, failed)

    def environment(self, job: Job) -> dict[str, str]:
        space = bytes.fromhex(job.space.identity)
        return spec.point_environment(self._state.engine, job.space.identity, self._state.jobs.token(space))

    def open_job(self, name: str, module: str, owner: str) -> Job:
        """A new job; on the server's thread."""
        stem = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")[:20] or "job"
        job = Job(f"{stem}-{secrets.token_hex(2)}", module, owner, secrets.token_hex(8))
        self._state.jobs.by_space[job.space.identity] = job
        self._forget_old()
        return job

    def run(
        self, module: str, environment: dict[str, str], extra: dict[str, Any], aliases: dict[str, str]
    ) -> Answer:
        """Run a module's runner as a job of its own."""
        future: Future[dict[str, Any]] = Future()
        asked = needs.parse(extra, f"resources of {module}")
        self._state.watcher.hurry(HURRY_S)
        accepted = time.time()

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self._state.resolver.resolve(module)
            request = contract.Start(module, 1, "", environment, {})
            wanted = needs.merge(needs.Needs(), asked)
            about = resolved.about
            runnable = resolved._replace(
                about=about._replace(command=about.runner or about.command), points_command=about.command
            )
            return runnable, self.preflight(request, runnable, wanted)

        def create(result: tuple[Resolved, needs.Needs]) -> None:
            self._create_runner(module, environment, aliases, accepted, result, future)

        self._state.in_background(prepared, create, future)
        return future

    def _create_runner(
        self,
        module: str,
        environment: dict[str, str],
        aliases: dict[str, str],
        accepted: float,
        result: tuple[Resolved, needs.Needs],
        future: Future[dict[str, Any]],
    ) -> None:
        resolved, wanted = result
        job = self.open_job(resolved.about.name or module.rpartition("/")[2], module, names.OWNER_CLUSTER)
        assert job.runner is not None
        job.runner.language = resolved.about.language
        job.aliases = aliases
        if resolved.about.name:  # points of its own module run the very same image
            command = resolved.points_command
            job.pinned[resolved.about.name] = resolved._replace(
                about=resolved.about._replace(command=command)
            )
        group = Group(f"{job.name}-runner", job.name, module, "runner", "", [RUNNER], resolved.about.protocol)
        group.members[1].stages["accepted"] = accepted
        job.runner_group = group
        labels = {**labels_of(job, group, resolved, "", 1), names.KIND: names.RUNNER_KIND}
        environment = {**defaults_of(resolved.about), **environment, **self.environment(job)}
        launch = spec.Launch(
            job.name, resolved.image, resolved.about.command, 1, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        answer = {"job": job.name, "space": job.space.identity, "image": resolved.image}
        jobs = self._state.jobs.by_space
        self.launch(job, group, launch, answer, future, lambda: jobs.pop(job.space.identity, None))

    def forget(self, job: Job) -> None:
        """Remove a job that has ended from the list.

        Raises:
            EngineError: it has not.
        """
        if not job.is_over:
            raise errors.EngineError(f"{job.name} is {job.state}; stop it first: parcs stop {job.name}")
        del self._state.jobs.by_space[job.space.identity]

    def _forget_old(self) -> None:
        ended = sorted(
            (j for j in self._state.jobs.by_space.values() if j.is_over), key=lambda j: j.ended_at or 0.0
        )
        oldest = time.time() - _KEEP_S
        for job in [j for j in ended if (j.ended_at or 0.0) < oldest] + ended[:-_KEEP_JOBS]:
            self._state.jobs.by_space.pop(job.space.identity, None)


def stem_of(module: str) -> str:
    """What points of a module are called, before their number."""
    return module.partition("@")[0].rpartition("/")[2].partition(":")[0]


def labels_of(job: Job, group: Group, resolved: Resolved, stem: str, first: int) -> dict[str, str]:
    """All that `recovery` needs to know a group again."""
    return {
        names.JOB: job.space.identity,
        names.KIND: names.POINTS_KIND,
        names.NAME: job.name,
        names.OWNER: job.owner,
        names.GROUP: group.key,
        names.MODULE: group.module,
        names.LAUNCHER: group.launcher,
        names.CREATOR: group.creator,
        names.STEM: stem,
        names.FIRST: str(first),
        names.COUNT: str(len(group.members)),
        names.LANGUAGE: resolved.about.language,
        names.PROTOCOL: str(resolved.about.protocol),
    }


def defaults_of(about: Description) -> dict[str, str]:
    """The declared defaults of a module's parameters."""
    return {
        name: str(entry["default"])
        for name, entry in about.parameters.items()
        if entry.get("default") is not None
    }
