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


def follow(docker: Docker, service: str, take: Callable[[LogLine], None]) -> None:
    """Give every line of a service to ``take`` as it comes, on a thread of its own, until it is removed."""

    def run() -> None:
        try:
            for line in services.logs(docker, service, is_following=True):
                take(line)
        except (errors.DockerError, OSError, ValueError) as error:  # the stream ends with its service
            logger.debug("no more live output of %s: %s", service, error)

    threading.Thread(target=run, name=f"{waiting.OWN_THREAD}logs", daemon=True).start()


def read(docker: Docker, service: str) -> dict[str, list[LogLine]]:
    """All lines so far, by task; empty where they cannot be had any more."""
    found: dict[str, list[LogLine]] = {}
    try:
        for line in services.logs(docker, service, is_following=False, timeout_s=_READ_S):
            found.setdefault(line.task, []).append(line)
    except (errors.DockerError, OSError) as error:
        logger.debug("the output of %s cannot be read: %s", service, error)
    return found
