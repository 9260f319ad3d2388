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
_SELDOM_S: Final = 30.0
_LITTLE_S: Final = 0.02
_LITTLE: Final = 1 << 20
_FILES: Final = (
    Path("/sys/fs/cgroup/memory.current"),  # control groups version 2
    Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),  # version 1
)


class Meter:
    """Tells it every other second, if there is something to tell: a duty of the endpoint's keeper, on its thread.

    Of channels it tells those alone whose figures have changed. A program that does nothing tells twice a minute.
    """

    def __init__(self, endpoint: Endpoint, client: EngineClient) -> None:
        self._endpoint, self._client = endpoint, client
        self._looked_at = self._told_at = time.monotonic()
        self._told: dict[str, Traffic] = {}
        self._told_cpu_s, self._told_memory = 0.0, 0

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= _EACH_S:
            self._looked_at = now
            self.tell(anyway=now - self._told_at >= _SELDOM_S)

    def tell(self, *, anyway: bool = True) -> None:
        """Tell now; unless ``anyway``, only what is more than an idle program's own beat."""
        traffic = self._endpoint.traffic()
        changed = [each for each in traffic if self._told.get(each.channel) != each]
        cpu_s, held = time.process_time(), memory()
        is_busy = cpu_s - self._told_cpu_s >= _LITTLE_S or abs(held - self._told_memory) >= _LITTLE
        if not (anyway or is_busy or changed):
            return
        try:
            self._client.post("usage", cpu_s=cpu_s, memory=held, channels=changed)
        except errors.EngineError as error:
            logger.debug("the engine was not told of this program's usage: %s", error)
            return
        self._told_at = self._looked_at
        self._told = {each.channel: each for each in traffic}
        self._told_cpu_s, self._told_memory = cpu_s, held


def memory() -> int:
    """Bytes of its container, or of this process at its largest where there is no container."""
    for file in _FILES:
        try:
            return int(file.read_text())
        except (OSError, ValueError):
            continue
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
