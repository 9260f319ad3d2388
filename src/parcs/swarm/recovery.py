"""After a restart, perhaps on another manager: what runs is known again from the labels of its services."""

from __future__ import annotations

import logging
import time
from typing import Final

from parcs.contract.engine import RUNNER
from parcs.dockerapi import services
from parcs.engine.warm import WarmPool
from parcs.swarm import names
from parcs.swarm.job import Group, Job
from parcs.swarm.output import Output
from parcs.swarm.state import State
from parcs.swarm.warm import WarmPoints

logger = logging.getLogger("parcs.engine")

_REJOIN_S: Final = 10.0


class Recovery:
    """Reads the labels back."""

    def __init__(self, state: State, output: Output, warm: WarmPoints) -> None:
        self._state, self._output, self._warm = state, output, warm

    def recover(self) -> None:
        """Know again what runs, from the labels of the services."""
        found = services.find(self._state.docker, names.JOB)
        for service in sorted(found, key=lambda item: item.labels.get(names.KIND) != names.RUNNER_KIND):
            labels = service.labels
            space = labels[names.JOB]
            job = self._state.jobs.by_space.get(space)
            if job is None:
                owner = labels.get(names.OWNER, names.OWNER_CLUSTER)
                job = Job(labels.get(names.NAME, space), labels.get(names.MODULE, ""), owner, space)
                self._state.jobs.by_space[space] = job
                is_runner = labels.get(names.KIND) == names.RUNNER_KIND
                if owner == names.OWNER_OUTSIDE or (owner == names.OWNER_CLUSTER and not is_runner):
                    job.absent_since = time.monotonic()
            self._recover_group(job, service)
        self._state.jobs.recovering = False
        if found:
            logger.info("%d services of %d jobs are running", len(found), len(self._state.jobs.by_space))

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
        group.asked = int(service.spec["Mode"]["Replicated"]["Replicas"])
        self._state.groups[group.key] = (job, group)
        if is_runner:
            job.runner_group = group
        elif group.launcher == "warm":
            self._recover_pool(job, group)
        else:
            job.groups[group.key] = group
            for name in members:
                job.space.add_named(name, group.module, labels.get(names.LANGUAGE, ""), group.creator)
            job.space.next_number(stem, max(0, first + count - 1 - job.space.last_number(stem)))
        self._output.follow(job, group)

    def _recover_pool(self, job: Job, group: Group) -> None:
        """Warm points call again by themselves; those that were taken do not, and others take their place."""
        pool = job.warm.setdefault(group.module, WarmPool(group.module))
        job.groups[group.key], group.pool = group, pool
        pool.target += len(group.members)
        last = max(int(m.name.rpartition("-")[2]) for m in group.members.values())
        pool.started = max(pool.started, last)
        self._state.server.call_later(_REJOIN_S, lambda: self._warm.refill(job, pool))
