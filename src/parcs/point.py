"""A remote worker as its creator holds it."""

from __future__ import annotations

import logging
import os
from types import TracebackType
from typing import Any, Protocol, Self

from parcs import errors
from parcs.channel import base
from parcs.channel.tcp import TcpChannel
from parcs.model.lifecycle import Ending

logger = logging.getLogger("parcs")


class PointName(str):
    """A point's name. Calling it gives it too: in the original, ``name`` is a method."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)


class Owner(Protocol):
    """What a point needs of the engine that started it."""

    def stop_points(self, points: list[Point]) -> None: ...
    def ending_of(self, point: str) -> Ending | None: ...
    def node_of(self, point: str) -> str: ...
    def report_lost(self, point: str) -> None: ...


class Point(base.Carrier):
    """A running instance of a module, and the channel to it.

    As a context manager, leaving it ends the point.

    Attributes:
        name: unique in the control space.
    """

    def __init__(self, name: str, channel: TcpChannel, owner: Owner) -> None:
        self.name = PointName(name)
        self._channel, self._owner = channel, owner

    @property
    def channel(self) -> TcpChannel:
        """The channel to the point."""
        return self._channel

    @property
    def codec(self) -> str:
        """The codec of messages sent without one of their own."""
        return self._channel.codec

    @codec.setter
    def codec(self, codec: str) -> None:
        self._channel.codec = codec

    def send(self, value: Any, codec: str | None = None) -> None:
        """Send one message; see `Channel.send`.

        Raises:
            PointDiedError: the point is not there any more.
        """
        try:
            self._channel.send(value, codec)
        except (errors.ChannelBrokenError, errors.EndOfChannelError) as error:
            self._raise_last_words(error)

    def send_all(self, *values: Any) -> None:
        """Send several messages, in order."""
        for value in values:
            self.send(value)

    def recv(self, timeout: float | None = None) -> Any:
        """The next message; see `Channel.recv`.

        Raises:
            RemoteError: the point's code raised an exception.
            PointDiedError: the point died.
            EndOfChannelError: the point has finished, and has sent nothing more.
            ChannelTimeoutError: nothing came within ``timeout`` seconds.
        """
        try:
            return self._channel.recv(timeout)
        except (errors.ChannelBrokenError, errors.EndOfChannelError, errors.TruncatedFrameError) as error:
            self._raise_death(error)

    def link(self, other: Point, name: str | None = None, back: str | None = None) -> None:
        """Give this point and ``other`` a direct channel to each other.

        This point finds it as ``peer(name)`` (by default the other's name), the other as ``peer(back)``
        (by default this one's name). What they say to each other does not pass through this program.
        """
        ticket = os.urandom(16).hex()
        mine = {"kind": "attach", "ticket": ticket, "name": name or str(other.name)}
        theirs = {"kind": "attach", "ticket": ticket, "name": back or str(self.name)}
        self._channel.transmit_control(mine)
        other.channel.transmit_control({**theirs, "dial": self._channel.peer.listen})

    def shutdown(self) -> None:
        """End the point and close the channel to it. Doing it twice does nothing."""
        is_open = self._channel.connection is not None
        self._owner.stop_points([self])
        if is_open:
            logger.info("Connection to %s closed", self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Point {self.name}>"

    def _raise_last_words(self, error: errors.ParcsError) -> None:
        """Sending failed: if the point's code raised an exception, it is in what it sent last."""
        while self._channel.inbox or self._channel.connection is not None:
            try:
                self._channel.recv(timeout=0)
            except errors.RemoteError:
                raise
            except errors.ParcsError:
                break
        self._raise_death(error)

    @property
    def node(self) -> str:
        """The machine it runs on, in a cluster; empty if it is this one."""
        return self._channel.peer.node or self._owner.node_of(str(self.name))

    def _raise_node_lost(self, error: errors.ParcsError) -> None:
        """Nothing is heard from the point, and nobody has heard of its end: its machine is cut off."""
        node = self.node
        self._owner.report_lost(str(self.name))
        raise errors.NodeLostError(str(self.name), node, str(error)) from error

    def _raise_death(self, error: errors.ParcsError) -> None:
        if isinstance(error, errors.PeerSilentError) and self.node:
            self._raise_node_lost(error)
        ending = self._owner.ending_of(str(self.name))
        if ending is None and self.node and not isinstance(error, errors.EndOfChannelError):
            self._raise_node_lost(error)
        if ending is not None and ending.cause == "node-lost":
            raise errors.NodeLostError(str(self.name), ending.node, ending.reason) from error
        if ending is None or ending.is_clean:
            raise error
        raise errors.PointDiedError(
            str(self.name), ending.describe(), ending.exit_code, ending.signal, ending.last_lines
        ) from error
