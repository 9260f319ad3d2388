"""What Swarm says of our tasks and of the nodes, asked again and again: it sends no news of them.

Often while something starts or is about to end, seldom otherwise, and never so often that asking is all the
manager does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from parcs import errors
from parcs.channel import waiting
from parcs.dockerapi import nodes, tasks
from parcs.dockerapi.client import Docker
from parcs.swarm import names

logger = logging.getLogger("parcs.engine")

_HURRIED_S: Final = 0.05
_CALM_S: Final = 0.5
_NODES_S: Final = 1.0
_SHARE: Final = 9.0

Deliver = Callable[[list[tasks.Task], list[nodes.Node], float], None]


class Watcher:
    """A thread that asks.

    Args:
        deliver: is given all tasks of jobs, all nodes, and when they were asked for; called on this thread.
    """

    def __init__(self, docker: Docker, deliver: Deliver) -> None:
        self._docker, self._deliver = docker, deliver
        self._hurry_until = 0.0
        self._wake = threading.Event()
        self._over = False
        self.is_answered = True
        self._thread = threading.Thread(target=self._run, name=f"{waiting.OWN_THREAD}watcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self, for_s: float) -> None:
        """Ask now, and often for a while."""
        self._hurry_until = max(self._hurry_until, time.monotonic() + for_s)
        self._wake.set()

    def close(self) -> None:
        """Stop asking."""
        self._over = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        machines: list[nodes.Node] = []
        asked_nodes = 0.0
        while not self._over:
            self._wake.clear()
            begin = time.monotonic()
            try:
                found = tasks.find(self._docker, names.JOB)
                if begin - asked_nodes > _NODES_S:
                    machines, asked_nodes = nodes.find(self._docker), begin
                self.is_answered = True
                self._deliver(found, machines, begin)
            except errors.DockerError as error:
                if self.is_answered:
                    logger.warning("the Swarm does not answer: %s", error)
                self.is_answered = False
            now = time.monotonic()
            is_hurried = now < self._hurry_until
            pause = max(_HURRIED_S if is_hurried else _CALM_S, _SHARE * (now - begin))
            if is_hurried:
                time.sleep(pause)
            else:
                self._wake.wait(pause)
