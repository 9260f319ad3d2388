"""The contract of a channel.

A channel is ordered and bidirectional; one message in is one message out. Closing is four facts, each
with an error of its own: you closed it (`ChannelClosedError`), you gave it away (`ChannelMovedError`),
the peer finished (`EndOfChannelError`, after its last message), the world broke it
(`ChannelBrokenError`). `parcs.testing.check_channel` checks any implementation against this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, NamedTuple, Self


class Peer(NamedTuple):
    """Who is at the other end. ``version`` is of the protocol; ``listen`` is where it accepts calls;
    ``node`` is its machine, in a cluster."""

    name: str
    version: int
    language: str = ""
    language_version: str = ""
    listen: str = ""
    frame_limit: int = 1 << 56
    keepalive_s: float = 0.0
    node: str = ""


class Statistics(NamedTuple):
    """What went through. Bytes are of bodies, without headers; ``waited_s`` is time blocked in recv."""

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    waited_s: float = 0.0

    def plus(self, other: Statistics) -> Statistics:
        """The sum, field by field."""
        return Statistics(
            self.messages_sent + other.messages_sent,
            self.messages_received + other.messages_received,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
            self.waited_s + other.waited_s,
        )


class Carrier(ABC):
    """Whatever has a channel: a channel itself, or a point."""

    @property
    @abstractmethod
    def channel(self) -> Channel:
        """The channel."""


class Channel(Carrier):
    """One end of a channel.

    Attributes:
        name: what this end calls the other.
        codec: the codec of messages sent without one of their own; ``"json"`` at first.
    """

    name: str
    codec: str

    @property
    def channel(self) -> Channel:
        return self

    @abstractmethod
    def send(self, value: Any, codec: str | None = None) -> None:
        """Send one message. Returns once the system has taken all of it.

        Bytes-like values go as they are (codec ``raw``) unless a codec is named; a numpy array that the
        codec cannot carry goes by ``pickle``; a `Channel` or a `Point` hands that channel's end on.

        Raises:
            EncodeError, FrameTooLargeError: nothing was sent; the channel stays usable.
            ChannelError: the channel is over.
            DeadlockError: the peer waits too, and nobody can move.
        """

    def send_all(self, *values: Any) -> None:
        """Send several messages, in order."""
        for value in values:
            self.send(value)

    @abstractmethod
    def recv(self, timeout: float | None = None) -> Any:
        """The next message; waits for it, at most ``timeout`` seconds.

        Raises:
            ChannelTimeoutError: nothing came in time; the channel stays usable.
            DecodeError: a message came that cannot be read; the channel stays usable.
            RemoteError: the peer's code raised an exception.
            EndOfChannelError: the peer is done, and everything it sent was received.
            ChannelError, ProtocolError: the channel is over.
            DeadlockError: the peer waits too, and nobody can move.
        """

    @abstractmethod
    def poll(self) -> bool:
        """Whether `recv` would return or raise at once."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye and close this end. What was sent still arrives. Closing twice does nothing."""

    @property
    @abstractmethod
    def statistics(self) -> Statistics:
        """What went through this end so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
