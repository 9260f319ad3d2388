"""What this program takes of its machine, and what its channels carry: told to a cluster's engine server."""

from __future__ import annotations

import logging
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from parcs import errors
from parcs.contract.engine import Traffic

if TYPE_CHECKING:
    from parcs.channel import Endpoint
    from parcs.engine.client import EngineClient

logger = logging.getLogger("parcs")

_EACH_S: Final = 2.0
_FILES: Final = (
    Path("/sys/fs/cgroup/memory.current"),  # control groups version 2
    Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),  # version 1
)


class Meter:
    """Tells it every other second: a duty of the endpoint's keeper, whose thread calls it.

    Of channels it tells those alone whose figures have changed.
    """

    def __init__(self, endpoint: Endpoint, client: EngineClient) -> None:
        self._endpoint, self._client = endpoint, client
        self._told_at = time.monotonic()
        self._told: dict[str, Traffic] = {}

    def __call__(self) -> None:
        if time.monotonic() - self._told_at >= _EACH_S:
            self.tell()

    def tell(self) -> None:
        """Tell now."""
        self._told_at = time.monotonic()
        traffic = self._endpoint.traffic()
        changed = [each for each in traffic if self._told.get(each.channel) != each]
        try:
            self._client.post("usage", cpu_s=time.process_time(), memory=memory(), channels=changed)
        except errors.EngineError as error:
            logger.debug("the engine was not told of this program's usage: %s", error)
            return
        self._told = {each.channel: each for each in traffic}


def memory() -> int:
    """Bytes of its container, or of this process at its largest where there is no container."""
    for file in _FILES:
        try:
            return int(file.read_text())
        except (OSError, ValueError):
            continue
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
