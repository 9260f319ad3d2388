"""Points as containers of a Swarm: the engine server's backend there.

Everything that changes a job happens on the server's thread. What asks Docker, and may take long while a Swarm
elects a leader, happens on threads of a pool, and comes back through `call_soon`. Nothing is remembered that
could not be read again from the labels of the services, so a server that was moved to another manager carries
on where the last one was (`recover`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from parcs import errors
from parcs.channel import waiting
from parcs.contract import engine as contract
from parcs.contract.engine import RUNNER
from parcs.dockerapi import networks, services, tasks
from parcs.dockerapi.client import Docker
from parcs.dockerapi.nodes import Node
from parcs.dockerapi.services import LogLine
from parcs.dockerapi.tasks import Task
from parcs.engine.server import Answer, EngineServer, Session
from parcs.engine.space import ControlSpace
from parcs.engine.warm import REFILL_S, WarmPool
from parcs.image.description import Description
from parcs.model import resources as needs
from parcs.model.lifecycle import Ending, PointEvent, PointState, advance
from parcs.swarm import keys, logs, names, placement, spec
from parcs.swarm.job import Group, Job, Member
from parcs.swarm.resolve import Resolved, Resolver
from parcs.swarm.watch import Watcher

logger = logging.getLogger("parcs.engine")

_STOP_S: Final = 1.0
"""How long points have to end by themselves once they were told, before their service is removed."""
_ABSENCE_S: Final = 8.0
"""How long a program may be without a connection before it counts as gone."""
_PENDING_S: Final = 1.5
_VANISHED_S: Final = 3.0
_HURRY_S: Final = 5.0
_SWEEP_S: Final = 2.0
_SUSPECT_S: Final = 30.0
_REJOIN_S: Final = 10.0
_KEEP_JOBS: Final = 200
_KEEP_S: Final = 7 * 86400.0


class Jobs:
    """All jobs, and the tokens of their programs: the server's directory."""

    def __init__(self, cluster_key: bytes, operator: Callable[[], bytes]) -> None:
        self._key, self._operator = cluster_key, operator
        self.by_space: dict[str, Job] = {}
        self._operators = ControlSpace(names.OPERATOR_SPACE)
        self.recovering = True

    def token(self, space: bytes) -> bytes:
        if space.hex() == names.OPERATOR_SPACE:
            return self._operator()
        if space.hex() not in self.by_space and not self.recovering:
            raise errors.AuthenticationError("there is no such job here (any more)")
        return keys.job_token(self._key, space)

    def space(self, space: bytes) -> ControlSpace:
        if space.hex() == names.OPERATOR_SPACE:
            return self._operators
        return self.of(space.hex()).space

    def of(self, space: str) -> Job:
        """The job with a control space.

        Raises:
            EngineError: there is none.
        """
        job = self.by_space.get(space)
        if job is None:
            raise errors.EngineError("there is no such job here (any more)")
        return job

    def named(self, name: str) -> Job:
        """The job people call ``name``, or any unmistakable beginning of it.

        Raises:
            EngineError: none, or several.
        """
        found = [job for job in self.by_space.values() if job.name == name]
        found = found or [job for job in self.by_space.values() if job.name.startswith(name)]
        if len(found) != 1:
            known = ", ".join(sorted(job.name for job in self.by_space.values())) or "none"
            problem = "several jobs begin with" if found else "there is no job"
            raise errors.EngineError(f"{problem} {name!r}; there are: {known}")
        return found[0]


class SwarmBackend:
    """Starts modules as services.

    Args:
        docker: a manager's Engine.
        engine: where programs in the cluster find the server, as a URL.
        relay: where they call programs outside.
    """

    def __init__(self, docker: Docker, jobs: Jobs, resolver: Resolver, engine: str, relay: str) -> None:
        self._docker, self.jobs, self._resolver = docker, jobs, resolver
        self._engine, self._relay = engine, relay
        self._workers = ThreadPoolExecutor(16, thread_name_prefix=f"{waiting.OWN_THREAD}docker")
        self._server: EngineServer | None = None
        self._groups: dict[str, tuple[Job, Group]] = {}
        self._starts: dict[str, Answer] = {}
        self._nodes: dict[str, Node] = {}
        self._fresh: deque[tuple[Job, Group, LogLine]] = deque()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._suspects: dict[str, float] = {}
        self._swept = self._ticked = 0.0
        self._watcher = Watcher(docker, self._on_watched)

    @property
    def server(self) -> EngineServer:
        """The server this backend works for."""
        assert self._server is not None
        return self._server

    def attach(self, server: EngineServer) -> None:
        self._server = server
        self._recover()
        self._watcher.start()

    def close(self) -> None:
        """Stop watching. Jobs go on: the next server finds them again."""
        self._watcher.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    # --- starting --------------------------------------------------------------------------------

    def start(self, space: ControlSpace, request: contract.Start, creator: str) -> Answer:
        job = self.jobs.of(space.identity)
        if job.is_over:
            raise errors.EngineError(f"the job {job.name} is over")
        key = f"{job.name}-{request.key or secrets.token_hex(6)}"
        if key in self._starts:
            return self._starts[key]
        if key in self._groups:
            _, group = self._groups[key]
            return {"points": [member.name for member in group.members.values()]}
        accepted = time.time()
        taken = self._take_warm(job, request, creator)
        if taken is not None:
            return taken
        future: Future[dict[str, Any]] = Future()
        self._starts[key] = future
        future.add_done_callback(lambda _: self._starts.pop(key, None))
        self._watcher.hurry(_HURRY_S)
        asked = needs.parse(request.resources, f"resources of {request.module}")

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self._resolve(job, request.module)
            wanted = needs.merge(resolved.about.needs, asked)
            return resolved, self._preflight(request, resolved, wanted)

        def create(result: tuple[Resolved, needs.Needs]) -> None:
            job.pinned[request.module] = result[0]
            self._create(job, key, request, creator, accepted, result, future)

        self._in_background(prepared, create, future)
        return future

    # --- warm points -----------------------------------------------------------------------------

    def warm(self, space: ControlSpace, module: str, count: int) -> Answer:
        """Keep points waiting for one job, which ends them too."""
        return self.warm_for(self.jobs.of(space.identity), module, count)

    def warm_for_all(self, module: str, count: int) -> Answer:
        """Keep points waiting for every job, until told otherwise."""
        return self.warm_for(self._everybodys(), module, count)

    def _everybodys(self) -> Job:
        job = self.jobs.by_space.get(names.WARM_SPACE)
        if job is None:
            job = Job("warm", "", names.OWNER_WARM, names.WARM_SPACE)
            self.jobs.by_space[names.WARM_SPACE] = job
        return job

    def warm_for(self, job: Job, module: str, count: int) -> Answer:
        """Have ``count`` points of a module wait for whoever asks within ``job``."""
        pool = job.warm.setdefault(module, WarmPool(module))
        pool.target = count
        if count == 0:
            for group in [g for g in job.groups.values() if g.pool is pool]:
                self._release(job, group)
            return {"waiting": 0}
        self._refill(job, pool)
        return pool.when_filled()

    def _release(self, job: Job, group: Group) -> None:
        """End the points of a warm group that nobody has taken."""
        if any(m.taken_by is not None and not m.is_over for m in group.members.values()):
            group.is_dropped = True  # the taken ones go on: the service goes when they have ended
            for session in list(group.sessions):
                self.server.give(session, contract.dismissed_event())
        else:
            for member in group.members.values():
                member.is_over = True
            self._remove(job, group)

    def _refill(self, job: Job, pool: WarmPool) -> None:
        missing = pool.missing
        if not missing or job.is_over:
            return
        pool.coming += missing
        self._watcher.hurry(_HURRY_S)

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self._resolve(job, pool.module)
            request = contract.Start(pool.module, missing, "", {}, {})
            return resolved, self._preflight(request, resolved, resolved.about.needs)

        def failed(future: Future[Any]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                pool.coming = max(pool.coming - missing, 0)
                pool.fail(error)

        future: Future[Any] = Future()
        future.add_done_callback(failed)
        self._in_background(
            prepared, lambda result: self._create_warm(job, pool, missing, result, future), future
        )

    def _create_warm(
        self,
        job: Job,
        pool: WarmPool,
        count: int,
        result: tuple[Resolved, needs.Needs],
        future: Future[Any],
    ) -> None:
        resolved, wanted = result
        job.pinned[pool.module] = resolved
        stem = f"{_stem(pool.module)}-warm"
        first, pool.started = pool.started + 1, pool.started + count
        members = [f"{stem}-{first + i}" for i in range(count)]
        service = f"{job.name}-{stem}-{first}"[:63]
        group = Group(
            f"{service}-{secrets.token_hex(2)}",
            service,
            pool.module,
            "warm",
            "",
            members,
            resolved.about.protocol,
        )
        group.pool = pool
        job.groups[group.key] = group
        self._groups[group.key] = (job, group)
        labels = _labels(job, group, resolved, stem, first)
        environment = {
            **self._environment(job),
            **_defaults(resolved.about),
            **spec.group_environment(stem, first, ""),
            contract.WARM_VARIABLE: pool.module,
        }
        launch = spec.Launch(
            service, resolved.image, resolved.about.command, count, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        def created(_: object) -> None:
            self._follow(job, group)
            future.set_result(None)

        def failed() -> None:
            job.groups.pop(group.key, None)
            self._groups.pop(group.key, None)

        self._in_background(lambda: self._make_service(launch), created, future, failed)

    def on_waiting(self, session: Session) -> None:
        job = self.jobs.of(session.space.hex())
        found = job.find(session.program)
        if found is None or found[0].pool is None or found[0].is_dropped:
            self.server.give(session, contract.dismissed_event())
            return
        found[0].sessions.append(session)
        found[0].pool.add(session)

    def on_gone(self, session: Session) -> None:
        for job in self.jobs.by_space.values():
            for pool in job.warm.values():
                pool.discard(session)

    def _take_warm(self, job: Job, request: contract.Start, creator: str) -> Answer | None:
        """Points that wait already, if there are enough and nothing special is asked of them."""
        if request.resources:
            return None
        for owner in (job, self.jobs.by_space.get(names.WARM_SPACE)):
            pool = owner.warm.get(request.module) if owner else None
            if owner is not None and pool is not None and pool.waiting >= request.number:
                taken = self._take(owner, pool, job, request, creator)
                self.server.call_later(REFILL_S, lambda o=owner, p=pool: self._refill(o, p))  # type: ignore[misc]
                return {"points": taken, "protocol": 2}
        return None

    def _take(self, owner: Job, pool: WarmPool, job: Job, request: contract.Start, creator: str) -> list[str]:
        key = f"{job.name}-{request.key or secrets.token_hex(6)}"
        stem = _stem(request.module)
        first = job.space.next_number(stem, request.number)
        points = [f"{stem}-{first + i}" for i in range(request.number)]
        group = Group(key, "", request.module, "warm", creator, points, 2)
        group.is_borrowed = True
        environment = {**self._environment(job), **request.environment}
        del environment[contract.NODE_VARIABLE]  # a template that only Swarm fills in
        call = self._relay if request.call == "relay" else request.call
        for slot, name in enumerate(points, 1):
            session = pool.take()
            found = owner.find(session.program)
            assert found is not None
            lender, member = found
            lender.sessions.remove(session)
            group.members[slot] = member
            member.name, member.taken_by = name, (job, group)
            member.stages = {"accepted": time.time()}
            group.language = lender.language
            job.space.add_named(name, request.module, lender.language, creator)
            job.space.advance(name, PointEvent.STARTED)
            self.server.give(session, contract.take_event(name, call, environment))
            self.server.tell(job.space, creator, contract.running_event(name, member.node, member.address))
        job.groups[key] = group
        return points

    def _resolve(self, job: Job, module: str) -> Resolved:
        """A module's image, the same one through the whole job; on a thread of the pool."""
        return job.pinned.get(module) or self._resolver.resolve(job.aliases.get(module, module))

    def _preflight(self, request: contract.Start, resolved: Resolved, wanted: needs.Needs) -> needs.Needs:
        """Refuse at once what cannot work; on a thread of the pool. Gives the needs, with where not to go."""
        if not resolved.about.command and resolved.about.protocol == 2:
            raise errors.EngineError(f"{request.module} has no command for points, only a runner")
        machines, everything = list(self._nodes.values()), tasks.find(self._docker)

        def check(where: needs.Placement) -> None:
            rooms = placement.survey(machines, everything, where, resolved.platforms)
            placement.check(rooms, wanted.resources, where, request.number, request.module)

        check(wanted.placement)
        network = networks.ensure_overlay(self._docker, names.NETWORK)
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
        stem = _stem(request.module)
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
        self._groups[key] = (job, group)
        labels = _labels(job, group, resolved, stem, first)
        environment = {
            **self._environment(job),
            **_defaults(about),
            **request.environment,
            **(
                spec.group_environment(stem, first, self._relay if request.call == "relay" else request.call)
                if about.protocol == 2
                else {}
            ),
        }
        launch = spec.Launch(
            service, resolved.image, about.command, request.number, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        def created(_: object) -> None:
            self._follow(job, group)
            future.set_result({"points": [r.name for r in records], "protocol": about.protocol})

        def failed() -> None:
            for record in records:
                job.space.discard(record.name)
            job.groups.pop(key, None)
            self._groups.pop(key, None)

        self._in_background(lambda: self._make_service(launch), created, future, failed)

    def suspect(self, job: Job, point: str) -> None:
        """A program says that a point's machine does not answer: others are used for a while."""
        found = job.find(point)
        node = next((n for n in self._nodes.values() if found and n.name == found[1].node), None)
        if node is not None:
            logger.warning("%s does not answer; new points go elsewhere for %.0f s", node.name, _SUSPECT_S)
            self._suspects[node.id] = time.monotonic() + _SUSPECT_S

    def _avoiding(self, placement: needs.Placement) -> needs.Placement:
        """Where points may go, less the machines that have just been lost: Swarm needs longer to notice."""
        now = time.monotonic()
        avoided = {node for node, until in self._suspects.items() if until > now}
        left = [node for node in self._nodes.values() if node.is_usable and node.id not in avoided]
        if not avoided or not left:
            return placement
        return placement._replace(
            constraints=(*placement.constraints, *(f"node.id!={node}" for node in sorted(avoided)))
        )

    def _make_service(self, launch: spec.Launch) -> None:
        try:
            services.create(
                self._docker,
                spec.service(launch, names.NETWORK),
                self._resolver.credentials(launch.image),
            )
        except errors.DockerError as error:
            if error.status != 409:  # the answer to an earlier attempt was lost: it is there
                raise

    def _environment(self, job: Job) -> dict[str, str]:
        space = bytes.fromhex(job.space.identity)
        return spec.point_environment(self._engine, job.space.identity, self.jobs.token(space))

    def _in_background(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        future: Future[Any],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Do ``work`` on a thread of the pool, then ``then`` with its result on the server's thread."""

        def done(result: Future[Any]) -> None:
            def finish() -> None:
                error = result.exception()
                try:
                    if error is None:
                        then(result.result())
                        return
                except errors.ParcsError as failure:
                    error = failure
                failed()
                future.set_exception(error)

            self.server.call_soon(finish)

        self._workers.submit(work).add_done_callback(done)

    # --- jobs ------------------------------------------------------------------------------------

    def open_job(self, name: str, module: str, owner: str) -> Job:
        """A new job; on the server's thread."""
        stem = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")[:20] or "job"
        job = Job(f"{stem}-{secrets.token_hex(2)}", module, owner, secrets.token_hex(8))
        self.jobs.by_space[job.space.identity] = job
        self._forget_old()
        return job

    def run(
        self, module: str, environment: dict[str, str], extra: dict[str, Any], aliases: dict[str, str]
    ) -> Answer:
        """Run a module's runner as a job of its own."""
        future: Future[dict[str, Any]] = Future()
        asked = needs.parse(extra, f"resources of {module}")
        self._watcher.hurry(_HURRY_S)
        accepted = time.time()

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self._resolver.resolve(module)
            request = contract.Start(module, 1, "", environment, {})
            wanted = needs.merge(needs.Needs(), asked)
            about = resolved.about
            runnable = resolved._replace(
                about=about._replace(command=about.runner or about.command), points_command=about.command
            )
            return runnable, self._preflight(request, runnable, wanted)

        def create(result: tuple[Resolved, needs.Needs]) -> None:
            self._create_runner(module, environment, aliases, accepted, result, future)

        self._in_background(prepared, create, future)
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
        self._groups[group.key] = (job, group)
        labels = {
            names.JOB: job.space.identity,
            names.KIND: names.RUNNER_KIND,
            names.NAME: job.name,
            names.OWNER: job.owner,
            names.GROUP: group.key,
            names.MODULE: module,
            names.LAUNCHER: "runner",
            names.LANGUAGE: resolved.about.language,
            names.PROTOCOL: str(resolved.about.protocol),
            names.BEGUN: repr(time.time()),
        }
        environment = {**_defaults(resolved.about), **environment, **self._environment(job)}
        launch = spec.Launch(
            job.name, resolved.image, resolved.about.command, 1, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        def created(_: object) -> None:
            self._follow(job, group)
            future.set_result({"job": job.name, "space": job.space.identity, "image": resolved.image})

        def failed() -> None:
            self._groups.pop(group.key, None)
            self.jobs.by_space.pop(job.space.identity, None)

        self._in_background(lambda: self._make_service(launch), created, future, failed)

    def end_job(self, job: Job, why: str = "") -> None:
        """End a job: its runner first, then whatever is left of it."""
        if job.runner is not None and job.runner_group is not None and not job.runner.state.is_final:
            job.runner.state = advance(job.runner.state, PointEvent.STOP)
            if why:
                job.add_line("engine", "", 2, why)
            self._remove(job, job.runner_group)
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
            self._remove(job, group)
        self.changed(job)

    def forget(self, job: Job) -> None:
        """Remove a job that has ended from the list.

        Raises:
            EngineError: it has not.
        """
        if not job.is_over:
            raise errors.EngineError(f"{job.name} is {job.state}; stop it first: parcs stop {job.name}")
        del self.jobs.by_space[job.space.identity]

    def _forget_old(self) -> None:
        ended = sorted((j for j in self.jobs.by_space.values() if j.is_over), key=lambda j: j.ended_at or 0.0)
        oldest = time.time() - _KEEP_S
        for job in [j for j in ended if (j.ended_at or 0.0) < oldest] + ended[:-_KEEP_JOBS]:
            self.jobs.by_space.pop(job.space.identity, None)

    # --- listening for changes (live output) ---------------------------------------------------------

    def on_change(self, job: Job, listener: Callable[[], None]) -> None:
        """Call once at the job's next change."""
        self._listeners.setdefault(job.space.identity, []).append(listener)

    def changed(self, job: Job) -> None:
        """Tell who listens."""
        for listener in self._listeners.pop(job.space.identity, []):
            listener()

    # --- ending ----------------------------------------------------------------------------------

    def stop(self, space: ControlSpace, name: str) -> None:
        job = self.jobs.of(space.identity)
        found = job.find(name)
        if found is None:
            return
        group, _ = found
        self._watcher.hurry(2.0)
        left = [
            m for m in group.members.values() if job.space.points[m.name].state is not PointState.STOPPING
        ]
        if all(member.is_over for member in left):
            group.stopping_at = time.monotonic() + _STOP_S

    def _remove(self, job: Job, group: Group) -> None:
        """Remove a group's service, once its last lines have been read."""
        if group.is_removed or group.is_borrowed:
            return
        group.is_removed = True

        def delete() -> None:
            self._workers.submit(self._delete, group)

        self._read_lines(job, group, delete)

    def _delete(self, group: Group) -> None:
        try:
            services.remove(self._docker, group.service)
        except errors.DockerError as error:
            logger.warning("%s could not be removed yet: %s", group.service, error)
            self.server.call_soon(lambda: self._try_again(group))
            return
        self.server.call_soon(lambda: self._groups.pop(group.key, None))

    def _try_again(self, group: Group) -> None:
        group.is_removed, group.stopping_at = False, time.monotonic() + 1.0

    # --- what Docker says ----------------------------------------------------------------------------

    def _on_watched(self, found: list[Task], machines: list[Node], asked_at: float) -> None:
        self.server.call_soon(lambda: self._take_watched(found, machines, asked_at))

    def _take_watched(self, found: list[Task], machines: list[Node], asked_at: float) -> None:
        for node in machines:
            before = self._nodes.get(node.id)
            if before is not None and before.state != "ready" and node.state == "ready":
                # Its containers' network needs up to half a minute more than the node itself.
                self._suspects[node.id] = time.monotonic() + _SUSPECT_S
        self._nodes = {node.id: node for node in machines}
        seen: set[tuple[str, int]] = set()
        is_starting = False
        for task in found:
            job, group = self._groups.get(task.labels.get(names.GROUP, ""), (None, None))
            member = group.members.get(task.slot) if group else None
            if job is None or group is None or member is None:
                continue
            seen.add((group.key, task.slot))
            if not member.is_over:
                whose, within = member.taken_by or (job, group)
                self._observe(whose, within, member, task)
                is_starting = is_starting or member.state not in ("running", "complete", "failed")
        for job, group in list(self._groups.values()):
            is_old = asked_at - _VANISHED_S > group.seen_at
            for slot, member in group.members.items():
                if member.is_over or (group.key, slot) in seen:
                    continue
                if group.is_removed or is_old:
                    whose, within = member.taken_by or (job, group)
                    self._end_member(whose, within, member, _vanished(member))
            if any((group.key, slot) in seen for slot in group.members):
                group.seen_at = asked_at
        if is_starting:
            self._watcher.hurry(0.5)

    def _observe(self, job: Job, group: Group, member: Member, task: Task) -> None:
        node = self._nodes.get(task.node)
        if member.task != task.id:
            member.task = task.id
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
            self.changed(job)
            return
        record = job.space.points.get(member.name)
        if record is None:
            return  # a warm point that nobody has taken yet
        if record.state is PointState.STARTING:
            job.space.advance(member.name, PointEvent.STARTED)
        event = contract.running_event(member.name, member.node, member.address)
        self.server.tell(job.space, group.creator, event)

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

        self._read_lines(job, self._groups[member.group][1], finish)

    def _read_lines(self, job: Job, group: Group, then: Callable[[], None]) -> None:
        """Read a service's output whole, then go on. One reading at a time serves all who wait for one."""
        group.readers.append(then)
        if group.is_reading:
            return
        group.is_reading = True
        waiting, group.readers = group.readers, []

        def work() -> None:
            lines = logs.read(self._docker, group.service)
            self.server.call_soon(lambda: finish(lines))

        def finish(lines: dict[str, list[LogLine]]) -> None:
            group.is_reading = False
            self._complete_lines(job, group, lines)
            for go_on in waiting:
                go_on()
            if group.readers:
                self._read_lines(job, group, lambda: None)

        self._workers.submit(work)

    def _end_member(self, job: Job, group: Group, member: Member, ending: Ending) -> None:
        member.is_over = True
        if group is job.runner_group:
            self._end_runner(job, group, ending)
        elif group.pool is not None:
            self._on_warm_end(job, group, member, ending)
        else:
            record = job.space.points.get(member.name)
            if record is not None and not record.state.is_final:
                if record.state is PointState.STARTING and not ending.reason:
                    job.space.advance(member.name, PointEvent.STARTED)
                usage = job.usage.get(member.name)
                self.server.on_ended(job.space, member.name, ending, usage[0] if usage else 0.0)
        for whose, within in {(job, group), self._groups.get(member.group, (job, group))}:
            if within.is_over and not within.is_borrowed:
                self._remove(whose, within)
        self.changed(job)

    def _on_warm_end(self, job: Job, group: Group, member: Member, ending: Ending) -> None:
        """A warm point ended before anybody took it."""
        if group.pool is not None and not group.is_dropped and not ending.is_clean:
            why = f"a point of {group.module} that was to wait {ending.describe()}"
            group.pool.coming = 0
            group.pool.fail(errors.EngineError(why))

    def _end_runner(self, job: Job, group: Group, ending: Ending) -> None:
        assert job.runner is not None
        if job.runner.state.is_final:
            return
        if job.runner.state is PointState.STARTING:
            event = PointEvent.NOT_STARTED
            if not ending.reason:
                job.runner.state = advance(job.runner.state, PointEvent.STARTED)
                event = PointEvent.EXITED_WELL if ending.is_clean else PointEvent.EXITED_BADLY
        else:
            event = PointEvent.EXITED_WELL if ending.is_clean else PointEvent.EXITED_BADLY
        job.runner.state = advance(job.runner.state, event)
        job.runner.ending, job.runner.ended_at = ending, time.time()
        self._finish(job)

    # --- output ----------------------------------------------------------------------------------

    def _follow(self, job: Job, group: Group) -> None:
        def take(line: LogLine) -> None:
            is_first = not self._fresh
            self._fresh.append((job, group, line))
            if is_first:
                self.server.call_soon(self._take_lines)

        logs.follow(self._docker, group.service, take)

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
        if member.is_read:
            return  # the second reading had it already
        for early in [x for x in group.early if x.task == member.task]:
            group.early.remove(early)
            self._keep_line(job, member, early)
        self._keep_line(job, member, line)

    def _keep_line(self, job: Job, member: Member, line: LogLine) -> None:
        node = self._nodes.get(line.node)
        member.lines_seen += 1
        job.add_line(member.name, node.name if node else member.node, line.stream, line.text)

    def _complete_lines(self, job: Job, group: Group, lines: dict[str, list[LogLine]]) -> None:
        """Add what following missed."""
        self._take_lines()
        for member in group.members.values():
            if member.task in lines and not member.is_read:
                whose = member.taken_by[0] if member.taken_by else job
                for line in lines[member.task][member.lines_seen :]:
                    self._keep_line(whose, member, line)
                member.is_read = member.is_over
                self.changed(whose)

    # --- time passes -----------------------------------------------------------------------------

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < 0.2:
            return
        self._ticked = now
        for job, group in list(self._groups.values()):
            if group.stopping_at is not None and now >= group.stopping_at and not group.is_removed:
                self._remove(job, group)
        for job in list(self.jobs.by_space.values()):
            if not job.is_over and job.absent_since is not None and now - job.absent_since > _ABSENCE_S:
                job.absent_since = None
                logger.warning("%s has gone without a goodbye; what it started is ended", job.name)
                self.end_job(job, "the runner's connection is lost; what it started is ended")
        if now - self._swept > _SWEEP_S:
            self._swept = now
            self._workers.submit(self._sweep)

    def _sweep(self) -> None:
        """Find services of jobs that are over, or that nobody knows; on a thread of the pool."""
        try:
            found = services.find(self._docker, names.JOB)
        except errors.DockerError:
            return  # the watcher says so already
        self.server.call_soon(lambda: self._remove_strays(found))

    def sweep(self) -> Answer:
        """Remove now what is left of jobs that are gone; gives the names of the services."""
        future: Future[dict[str, Any]] = Future()

        def then(found: list[services.Service]) -> None:
            future.set_result({"removed": self._remove_strays(found)})

        self._in_background(lambda: services.find(self._docker, names.JOB), then, future)
        return future

    @property
    def registry(self) -> str:
        """Where modules' images are looked for."""
        return self._resolver.registry

    def hurry(self) -> None:
        """Something is about to change: look often for a moment."""
        self._watcher.hurry(1.0)

    def _remove_strays(self, found: list[services.Service]) -> list[str]:
        removed = []
        for service in found:
            job = self.jobs.by_space.get(service.labels.get(names.JOB, ""))
            is_young = time.time() - tasks.parse_time(service.created_at) < _SWEEP_S
            is_needed = job is not None and (
                not job.is_over or time.time() - (job.ended_at or 0.0) < _SWEEP_S
            )
            if not is_young and not is_needed:
                logger.warning("%s is left over from a job that is gone; it is removed", service.name)
                self._workers.submit(self._remove_stray, service.id)
                removed.append(service.name)
        return removed

    def _remove_stray(self, service: str) -> None:
        try:
            services.remove(self._docker, service)
        except errors.DockerError as error:
            logger.debug("the next sweep tries again: %s", error)

    # --- after a restart -------------------------------------------------------------------------

    def _recover(self) -> None:
        """Know again what runs, from the labels of the services."""
        found = services.find(self._docker, names.JOB)
        for service in sorted(found, key=lambda item: item.labels.get(names.KIND) != names.RUNNER_KIND):
            labels = service.labels
            space = labels[names.JOB]
            job = self.jobs.by_space.get(space)
            if job is None:
                owner = labels.get(names.OWNER, names.OWNER_CLUSTER)
                job = Job(labels.get(names.NAME, space), labels.get(names.MODULE, ""), owner, space)
                self.jobs.by_space[space] = job
                is_runner = labels.get(names.KIND) == names.RUNNER_KIND
                if owner == names.OWNER_OUTSIDE or (owner == names.OWNER_CLUSTER and not is_runner):
                    job.absent_since = time.monotonic()
            self._recover_group(job, service)
        self.jobs.recovering = False
        if found:
            logger.info("%d services of %d jobs are running", len(found), len(self.jobs.by_space))

    def _recover_group(self, job: Job, service: services.Service) -> None:
        labels = service.labels
        stem, first, count = (
            labels.get(names.STEM, ""),
            int(labels.get(names.FIRST, 1)),
            int(labels.get(names.COUNT, 1)),
        )
        is_runner = labels.get(names.KIND) == names.RUNNER_KIND
        members = [RUNNER] if is_runner else [f"{stem}-{first + i}" for i in range(count)]
        group = Group(
            labels[names.GROUP], service.name, labels.get(names.MODULE, ""), labels.get(names.LAUNCHER, ""),
            labels.get(names.CREATOR, ""), members, int(labels.get(names.PROTOCOL, 2)),
        )  # fmt: skip
        self._groups[group.key] = (job, group)
        if is_runner:
            job.runner_group = group
        elif group.launcher == "warm":
            self._recover_pool(job, group)
        else:
            job.groups[group.key] = group
            for name in members:
                job.space.add_named(name, group.module, labels.get(names.LANGUAGE, ""), group.creator)
            job.space.next_number(stem, max(0, first + count - 1 - job.space.last_number(stem)))
        self._follow(job, group)

    def _recover_pool(self, job: Job, group: Group) -> None:
        """Warm points call again by themselves; those that were taken do not, and others take their place."""
        pool = job.warm.setdefault(group.module, WarmPool(group.module))
        job.groups[group.key], group.pool = group, pool
        pool.target += len(group.members)
        last = max(int(m.name.rpartition("-")[2]) for m in group.members.values())
        pool.started = max(pool.started, last)
        self.server.call_later(_REJOIN_S, lambda: self._refill(job, pool))


def _stem(module: str) -> str:
    """What points of a module are called, before their number."""
    return module.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _labels(job: Job, group: Group, resolved: Resolved, stem: str, first: int) -> dict[str, str]:
    """All that `_recover_group` needs to know a group again."""
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


def _defaults(about: Description) -> dict[str, str]:
    """The declared defaults of a module's parameters."""
    return {
        name: str(entry["default"])
        for name, entry in about.parameters.items()
        if entry.get("default") is not None
    }


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
