"""Both ends of a channel in one process, without a socket: the contract's plainest implementation.

It encodes and decodes as the real one does, so that what it carries and refuses is the same.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from parcs import errors
from parcs.channel import base
from parcs.wire import codecs


class MemoryChannel(base.Channel):
    """One end; `pair` makes both."""

    def __init__(self, name: str, limit: int, ready: threading.Condition) -> None:
        self.name = name
        self.codec = "json"
        self._limit = limit
        self._ready = ready
        self._inbox: deque[tuple[int, bytearray]] = deque()
        self._other: MemoryChannel = self
        self._closed = False
        self._statistics = base.Statistics()

    def send(self, value: Any, codec: str | None = None) -> None:
        encoded = codecs.encode(value, codecs.choose(value, codec or self.codec, named=codec is not None))
        if encoded.size > self._limit:
            raise errors.FrameTooLargeError(encoded.size, self._limit, sending=True)
        body = bytearray().join(encoded.parts)
        with self._ready:
            if self._closed:
                raise errors.ChannelClosedError(f"the channel to {self.name} was closed by this program")
            if self._other._closed:
                raise errors.EndOfChannelError(f"{self.name} has closed the channel")
            self._other._inbox.append((encoded.tag, body))
            sent = base.Statistics(messages_sent=1, bytes_sent=len(body))
            self._statistics = self._statistics.plus(sent)
            self._ready.notify_all()

    def recv(self, timeout: float | None = None) -> Any:
        begin = time.monotonic()
        with self._ready:
            if not self._ready.wait_for(self._is_ready, timeout):
                raise errors.ChannelTimeoutError(f"nothing came from {self.name} within {timeout:g} s")
            if self._closed:
                raise errors.ChannelClosedError(f"the channel to {self.name} was closed by this program")
            if not self._inbox:
                raise errors.EndOfChannelError(f"{self.name} has closed the channel")
            tag, body = self._inbox.popleft()
            got = base.Statistics(
                messages_received=1, bytes_received=len(body), waited_s=time.monotonic() - begin
            )
            self._statistics = self._statistics.plus(got)
        return codecs.decode(tag, body)

    def poll(self) -> bool:
        with self._ready:
            return self._is_ready()

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def statistics(self) -> base.Statistics:
        return self._statistics

    def _is_ready(self) -> bool:
        return bool(self._inbox or self._closed or self._other._closed)


def pair(
    left: str = "left", right: str = "right", limit: int = 1 << 30
) -> tuple[MemoryChannel, MemoryChannel]:
    """Two ends of one channel; ``left`` and ``right`` are the names of the programs at the ends."""
    ready = threading.Condition()
    at_left, at_right = MemoryChannel(right, limit, ready), MemoryChannel(left, limit, ready)
    at_left._other, at_right._other = at_right, at_left
    return at_left, at_right
