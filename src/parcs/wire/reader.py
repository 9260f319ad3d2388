"""A stream of bytes in, frames out.

The caller asks where to put bytes (`buffer`), puts some there straight from its socket, says how many
(`received`), and takes complete frames (`next_frame`). Small frames share one buffer, so that many of
them cost one system call. A large body gets memory of its own and is filled in place: no byte of it is
copied in user space beyond the few that came with its header.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from parcs import errors
from parcs.wire import buffers, header

_SHARED: Final = 64 * 1024


class Frame(NamedTuple):
    """One frame. A body of up to 64 KiB is a copy; a larger one is its own memory."""

    tag: int
    body: bytearray


class FrameReader:
    """Cuts a stream of bytes into frames.

    Args:
        limit: the largest body allowed, in bytes.
        allowed: the tags this stream may carry.

    After any `ProtocolError` the reader is finished: the stream has no known boundaries any more.
    """

    def __init__(self, limit: int, allowed: frozenset[int] = header.TAGS_V2) -> None:
        self._limit = limit
        self._allowed = allowed
        self._shared = bytearray(_SHARED)
        self._shared_view = memoryview(self._shared)
        self._start = 0
        self._end = 0
        self._tag = 0
        self._size = 0
        self._large: bytearray | None = None
        self._filled = 0
        self.pool: Final = buffers.BodyPool()

    @property
    def is_between_frames(self) -> bool:
        """Whether the stream could end here without tearing a frame."""
        return self._large is None and self._start == self._end

    @property
    def is_in_large_body(self) -> bool:
        """Whether a body is on its way that has memory of its own."""
        return self._large is not None

    def frames(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Take bytes that somebody else has read, however many, and give the frames they complete."""
        view = memoryview(data)
        while True:
            while (frame := self.next_frame()) is not None:
                yield frame
            if not view:
                return
            view = self._put(view)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes that somebody else has read, 16 KiB at most between two calls of `next_frame`.

        Copies; `buffer` and `received` do not.
        """
        view = memoryview(data)
        while view:
            view = self._put(view)

    def _put(self, view: memoryview) -> memoryview:
        """Copy as much of ``view`` as there is room for; returns the rest."""
        room = self.buffer()
        count = min(len(room), len(view))
        if count == 0:
            raise BufferError("take the complete frames before feeding more")
        room[:count] = view[:count]
        room.release()
        self.received(count)
        return view[count:]

    def buffer(self) -> memoryview:
        """Where the next bytes go. Never empty while no complete frame is waiting.

        Release it (or let it go) before calling `received`.
        """
        large = self._large
        if large is not None:
            if self._filled == len(large):
                self._grow(large)
            return memoryview(large)[self._filled :]
        if self._start == self._end:
            self._start = self._end = 0
        elif (self._start and _SHARED - self._end < header.SIZE) or self._end == _SHARED:
            held = self._end - self._start
            self._shared_view[:held] = bytes(self._shared_view[self._start : self._end])
            self._start, self._end = 0, held
        return self._shared_view[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes were put at the start of the last `buffer`."""
        if self._large is not None:
            self._filled += count
        else:
            self._end += count

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None until more bytes come.

        Raises:
            UnknownTagError, FrameTooLargeError: the header is refused; nothing was allocated for it.
        """
        large = self._large
        if large is not None:
            if self._filled < self._size:
                return None
            self._large = None
            self.pool.keep(large)
            return Frame(self._tag, large)
        start = self._start
        have = self._end - start
        if have < header.SIZE:
            return None
        tag, size = header.unpack(self._shared, start)
        if size > self._limit or tag not in self._allowed:
            header.check(tag, size, self._allowed, self._limit)
        body_start = start + header.SIZE
        if have - header.SIZE >= size:
            self._start = body_start + size
            return Frame(tag, self._shared[body_start : self._start])
        if size > _SHARED - header.SIZE:
            self._begin_large(tag, size, body_start)
        return None

    def end(self) -> None:
        """The stream ended.

        Raises:
            TruncatedFrameError: it ended inside a frame.
        """
        if self._large is not None:
            raise errors.TruncatedFrameError(header.SIZE + self._filled, header.SIZE + self._size)
        have = self._end - self._start
        if have:
            expected = header.SIZE
            if have >= header.SIZE:
                expected += header.unpack(self._shared, self._start)[1]
            raise errors.TruncatedFrameError(have, expected)

    def _begin_large(self, tag: int, size: int, body_start: int) -> None:
        have = self._end - body_start
        body = self.pool.take(size)
        if body is None:
            body = bytearray(max(buffers.first_step(size), have))
        body[:have] = self._shared_view[body_start : self._end]
        self._tag, self._size, self._large, self._filled = tag, size, body, have
        self._start = self._end = 0

    def _grow(self, body: bytearray) -> None:
        # Doubling in place needs no second buffer; the last doubling may overshoot by a few bytes.
        body *= 2
        del body[self._size :]
