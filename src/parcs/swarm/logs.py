"""The output of a service's containers, followed while they run, and read whole at the end.

Following is what people see live; Swarm may drop its last lines, or all of them if a node went down meanwhile.
So what is kept is completed from a second reading when a container has ended and before its service goes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from parcs import errors
from parcs.channel import waiting
from parcs.dockerapi import services
from parcs.dockerapi.client import Docker
from parcs.dockerapi.services import LogLine

_READ_S: Final = 3.0

logger = logging.getLogger("parcs.engine")


class Follower:
    """Gives every line of a service to ``take`` as it comes, on a thread of its own, until `close`."""

    def __init__(self, docker: Docker, service: str, take: Callable[[LogLine], None]) -> None:
        self._docker, self._service, self._take = docker, service, take
        self._lock = threading.Lock()
        self._logs: services.Logs | None = None
        self._over = False
        threading.Thread(target=self._run, name=f"{waiting.OWN_THREAD}logs", daemon=True).start()

    def close(self) -> None:
        """The service is gone, or nobody wants its lines any more."""
        with self._lock:
            self._over = True
            if self._logs is not None:
                self._logs.close()

    def _run(self) -> None:
        try:
            found = services.Logs(self._docker, self._service, is_following=True)
            with self._lock:
                self._logs = found
                if self._over:
                    found.close()
            for line in found:
                self._take(line)
        except (errors.DockerError, OSError, ValueError) as error:
            logger.debug("no more live output of %s: %s", self._service, error)
        with self._lock:
            self._logs = None


def read(docker: Docker, service: str) -> dict[str, list[LogLine]]:
    """All lines so far, by task; empty where they cannot be had any more."""
    found: dict[str, list[LogLine]] = {}
    try:
        for line in services.Logs(docker, service, is_following=False, timeout_s=_READ_S):
            found.setdefault(line.task, []).append(line)
    except (errors.DockerError, OSError) as error:
        logger.debug("the output of %s cannot be read: %s", service, error)
    return found
