"""A large group starts in waves: of hundreds of containers that are started at once, each takes longer.

A service begins with as many replicas as the nodes' processors start well at a time, and gets more as those run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final

from parcs.dockerapi import services
from parcs.dockerapi.nodes import Node
from parcs.swarm.job import Group
from parcs.swarm.state import State

logger = logging.getLogger("parcs.engine")

_EACH_CPU: Final = 4.0
"""Containers that start at a time, for each processor of the Swarm."""
_LEAST: Final = 16
_REFILL: Final = 0.25
"""The share of a wave that has to have begun before more is asked for: each asking is a commit of the managers."""


def width_of(machines: Iterable[Node]) -> int:
    """How many containers start at a time on these machines."""
    cpus = sum(node.cpus for node in machines if node.is_usable)
    return max(_LEAST, int(_EACH_CPU * cpus))


class Waves:
    """Lets the groups' services grow. Everything here happens on the server's thread."""

    def __init__(self, state: State) -> None:
        self._state = state

    def first(self, replicas: int) -> int:
        """How many of a service's replicas to begin with."""
        return min(replicas, width_of(self._state.nodes.values()))

    def go_on(self) -> None:
        """Swarm has been looked at: ask for more where there is room in the wave."""
        for _, group in list(self._state.groups.values()):
            is_wanted = group.stopping_at is None and not group.is_removed
            if group.asked < len(group.members) and is_wanted and not group.is_growing:
                self._grow(group)

    def _grow(self, group: Group) -> None:
        width = width_of(self._state.nodes.values())
        missing, room = len(group.members) - group.asked, group.begun + width - group.asked
        if room < min(missing, _REFILL * width):
            return
        wanted = group.asked + min(missing, room)
        group.is_growing = True

        def then(_: object) -> None:
            group.asked, group.is_growing = wanted, False
            group.seen_at = time.monotonic()  # Swarm makes the new tasks in its own time

        def failed() -> None:
            group.is_growing = False  # the next look tries again

        future: Future[Any] = Future()
        future.add_done_callback(lambda done: _tell_failure(group, done))
        self._state.in_background(lambda: self._scale(group, wanted), then, future, failed)

    def _scale(self, group: Group, replicas: int) -> None:
        service = services.inspect(self._state.docker, group.service)
        mode = {"Replicated": {"Replicas": replicas}}
        services.update(self._state.docker, service, {**service.spec, "Mode": mode})


def _tell_failure(group: Group, done: Future[Any]) -> None:
    error = done.exception()
    if error is not None and not group.is_removed:
        logger.warning("%s could not grow yet: %s", group.service, error)
