"""Warm points of a Swarm: services whose containers wait to be taken, for one job or for everybody."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future
from typing import Any

from parcs.contract import engine as contract
from parcs.engine.server import Answer, Session
from parcs.engine.space import ControlSpace
from parcs.engine.warm import REFILL_S, WarmPool
from parcs.model import resources as needs
from parcs.model.lifecycle import PointEvent
from parcs.swarm import names, spec, starter
from parcs.swarm.job import Group, Job
from parcs.swarm.lives import Lives
from parcs.swarm.output import Output
from parcs.swarm.resolve import Resolved
from parcs.swarm.starter import Starter
from parcs.swarm.state import HURRY_S, State


class WarmPoints:
    """Keeps points waiting, and gives them away."""

    def __init__(self, state: State, output: Output, lives: Lives, start: Starter) -> None:
        self._state, self._output, self._lives, self._starter = state, output, lives, start

    def keep(self, space: ControlSpace, module: str, count: int) -> Answer:
        """Keep points waiting for one job, which ends them too."""
        return self._keep(self._state.jobs.of(space.identity), module, count)

    def keep_for_all(self, module: str, count: int) -> Answer:
        """Keep points waiting for every job, until told otherwise."""
        return self._keep(self._everybodys(), module, count)

    def _everybodys(self) -> Job:
        job = self._state.jobs.by_space.get(names.WARM_SPACE)
        if job is None:
            job = Job("warm", "", names.OWNER_WARM, names.WARM_SPACE)
            self._state.jobs.by_space[names.WARM_SPACE] = job
        return job

    def _keep(self, job: Job, module: str, count: int) -> Answer:
        """Have ``count`` points of a module wait for whoever asks within ``job``."""
        pool = job.warm.setdefault(module, WarmPool(module))
        pool.target = count
        if count == 0:
            for group in [g for g in job.groups.values() if g.pool is pool]:
                self._release(job, group)
            return {"waiting": 0}
        self.refill(job, pool)
        return pool.when_filled()

    def _release(self, job: Job, group: Group) -> None:
        """End the points of a warm group that nobody has taken."""
        if any(m.taken_by is not None and not m.is_over for m in group.members.values()):
            group.is_dropped = True  # the taken ones go on: the service goes when they have ended
            for session in list(group.sessions):
                self._state.server.give(session, contract.dismissed_event())
        else:
            for member in group.members.values():
                member.is_over = True
            self._lives.remove(job, group)

    def refill(self, job: Job, pool: WarmPool) -> None:
        missing = pool.missing
        if not missing or job.is_over:
            return
        pool.coming += missing
        self._state.watcher.hurry(HURRY_S)

        def prepared() -> tuple[Resolved, needs.Needs]:
            resolved = self._starter.resolve(job, pool.module)
            request = contract.Start(pool.module, missing, "", {}, {})
            return resolved, self._starter.preflight(request, resolved, resolved.about.needs)

        def failed(future: Future[Any]) -> None:
            error = future.exception()
            if isinstance(error, Exception):
                pool.coming = max(pool.coming - missing, 0)
                pool.fail(error)

        future: Future[Any] = Future()
        future.add_done_callback(failed)
        self._state.in_background(
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
        stem = f"{starter.stem_of(pool.module)}-warm"
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
        labels = starter.labels_of(job, group, resolved, stem, first)
        environment = {
            **self._starter.environment(job),
            **starter.defaults_of(resolved.about),
            **spec.group_environment(stem, first, ""),
            contract.WARM_VARIABLE: pool.module,
        }
        launch = spec.Launch(
            service, resolved.image, resolved.about.command, count, environment, labels,
            wanted.resources, wanted.placement,
        )  # fmt: skip

        self._starter.launch(job, group, launch, {}, future, lambda: job.groups.pop(group.key, None))

    def on_waiting(self, session: Session) -> None:
        job = self._state.jobs.of(session.space.hex())
        found = job.find(session.program)
        if found is None or found[0].pool is None or found[0].is_dropped:
            self._state.server.give(session, contract.dismissed_event())
            return
        found[1].stages["called"] = time.time()
        found[0].sessions.append(session)
        found[0].pool.add(session)

    def on_gone(self, session: Session) -> None:
        for job in self._state.jobs.by_space.values():
            for pool in job.warm.values():
                pool.discard(session)

    def take(self, job: Job, request: contract.Start, creator: str) -> Answer | None:
        """Points that wait already, if there are enough and nothing special is asked of them."""
        if request.resources:
            return None
        for owner in (job, self._state.jobs.by_space.get(names.WARM_SPACE)):
            pool = owner.warm.get(request.module) if owner else None
            if owner is not None and pool is not None and pool.waiting >= request.number:
                taken = self._give(owner, pool, job, request, creator)
                self._state.server.call_later(REFILL_S, lambda o=owner, p=pool: self.refill(o, p))  # type: ignore[misc]
                return {"points": taken, "protocol": 2}
        return None

    def _give(self, owner: Job, pool: WarmPool, job: Job, request: contract.Start, creator: str) -> list[str]:
        key = f"{job.name}-{request.key or secrets.token_hex(6)}"
        stem = starter.stem_of(request.module)
        first = job.space.next_number(stem, request.number)
        points = [f"{stem}-{first + i}" for i in range(request.number)]
        group = Group(key, "", request.module, "warm", creator, points, 2)
        group.is_borrowed = True
        environment = {**self._starter.environment(job), **request.environment}
        del environment[contract.NODE_VARIABLE]  # a template that only Swarm fills in
        call = self._state.relay if request.call == "relay" else request.call
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
            self._state.server.give(session, contract.take_event(name, call, environment))
            self._state.server.tell(
                job.space, creator, contract.running_event(name, member.node, member.address)
            )
        job.groups[key] = group
        return points
