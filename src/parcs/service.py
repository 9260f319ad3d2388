"""What user code implements: a `Runner` is a job's first program, a `Service` is what its points run."""

from __future__ import annotations

import logging
import time
from typing import Any

from parcs import errors
from parcs.channel import Channel
from parcs.engine.base import Engine
from parcs.program import Program

_PEER_TIMEOUT_S = 60.0


class Runner:
    """The first program of a job. Override `run`; its return value is the job's result.

    Attributes:
        logger: logs to the job's log.
    """

    logger = logging.getLogger("Runner")
    _program: Program | None = None

    def run(self) -> Any:
        """The program itself."""
        raise NotImplementedError(f"{type(self).__name__} should define run(self)")

    def start(self) -> None:
        """Called before `run`; does nothing unless overridden."""

    def shutdown(self) -> None:
        """Called after `run`, however it ended; does nothing unless overridden."""

    @property
    def engine(self) -> Engine:
        """Where points run: `engine.run("module")` starts one. Services have one too."""
        return self._attached.engine

    @property
    def _attached(self) -> Program:
        if self._program is None:
            self._program = Program.from_environment()
        return self._program


class Service(Runner):
    """What a point runs. Override `run`, and talk to the point's creator with `recv` and `send`."""

    logger = logging.getLogger("Service")

    @property
    def channel(self) -> Channel:
        """The channel to this point's creator."""
        return self._attached.parent

    @property
    def name(self) -> str:
        """This point's name in the control space."""
        return self._attached.endpoint.name

    def send(self, value: Any, codec: str | None = None) -> None:
        """Send one message to the creator; see `Channel.send`."""
        self.channel.send(value, codec)

    def send_all(self, *values: Any) -> None:
        """Send several messages to the creator, in order."""
        self.channel.send_all(*values)

    def recv(self, timeout: float | None = None) -> Any:
        """The next message of the creator; see `Channel.recv`."""
        return self.channel.recv(timeout)

    def peer(self, name: str, timeout: float = _PEER_TIMEOUT_S) -> Channel:
        """The direct channel called ``name``; waits until the creator has made it with `Point.link`.

        Raises:
            ChannelTimeoutError: it was not made in time; the message has the names that were.
        """
        endpoint, parent = self._attached.endpoint, self._attached.parent
        deadline = time.monotonic() + timeout
        pause = 0.0
        while (link := endpoint.link(name)) is None:
            if time.monotonic() >= deadline:
                made = ", ".join(endpoint.link_names) or "none"
                raise errors.ChannelTimeoutError(
                    f"{self.name} has no direct channel named {name!r} after {timeout:g} s; it has: {made}. "
                    "Its creator makes one with point.link(other, name, back)"
                )
            parent.poll()  # takes in what the creator arranged
            time.sleep(pause)
            pause = min(pause + 0.0005, 0.01)
        return link

    @property
    def peers(self) -> list[str]:
        """The names of the direct channels arranged so far."""
        self._attached.parent.poll()
        return self._attached.endpoint.link_names
