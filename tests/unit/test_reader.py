"""Cutting a stream into frames, whatever way the stream is cut."""

from __future__ import annotations

import tracemalloc

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcs import errors
from parcs.wire import buffers, codecs, header
from parcs.wire.reader import Frame, FrameReader

LIMIT = 1 << 20
FRAMES = st.lists(
    st.tuples(st.sampled_from(sorted(header.TAGS_V2)), st.integers(0, 40) | st.integers(0, 200_000)),
    max_size=6,
)


def stream(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(header.pack(tag, len(body)) + body for tag, body in frames)


def read(data: bytes, cuts: list[int], limit: int = LIMIT) -> list[Frame]:
    """Read a stream that arrives in pieces of these sizes (the last size repeats), then ends."""
    reader = FrameReader(limit)
    frames = []
    at = number = 0
    while at < len(data):
        room = reader.buffer()
        count = min(len(room), len(data) - at, max(1, cuts[min(number, len(cuts) - 1)]))
        room[:count] = data[at : at + count]
        room.release()
        reader.received(count)
        at, number = at + count, number + 1
        while (frame := reader.next_frame()) is not None:
            frames.append(frame)
    reader.end()
    return frames


@given(FRAMES, st.lists(st.integers(1, 100_000), min_size=1, max_size=20))
def test_any_cut_of_a_stream_gives_the_same_frames(sizes: list[tuple[int, int]], cuts: list[int]) -> None:
    frames = [(tag, (bytes(range(251)) * 800)[:size]) for tag, size in sizes]
    assert [(f.tag, bytes(f.body)) for f in read(stream(frames), cuts)] == frames


@pytest.mark.parametrize("size", [0, 1, 65527, 65528, 65529, 65536, 65537, 131072, 1 << 20])
def test_sizes_around_the_shared_buffer_are_read(size: int) -> None:
    frames = [(2, b"a" * 10), (2, b"b" * size), (2, b"c" * 3)]
    for cuts in ([1 << 30], [65536], [7]) if size < 200_000 else ([1 << 30],):
        assert [(f.tag, bytes(f.body)) for f in read(stream(frames), cuts)] == frames


def test_a_stream_that_ends_at_any_byte_of_a_frame_is_truncated() -> None:
    data = stream([(0, b"[1, 2]"), (2, b"x" * 50)])
    whole = (0, 14, len(data))
    for end in range(len(data)):
        if end in whole:
            read(data[:end], [3])
        else:
            with pytest.raises(errors.TruncatedFrameError):
                read(data[:end], [3])


def test_a_large_body_that_ends_early_is_truncated() -> None:
    with pytest.raises(errors.TruncatedFrameError, match="of 500008 bytes"):
        read(stream([(2, b"x" * 500_000)])[:-1], [65536])


@given(st.binary(min_size=8, max_size=8))
def test_a_header_is_accepted_or_refused_and_allocates_nothing(head: bytes) -> None:
    tag, size = header.unpack(head)
    reader = FrameReader(LIMIT)
    reader.feed(head)
    if tag not in header.TAGS_V2:
        with pytest.raises(errors.UnknownTagError):
            reader.next_frame()
    elif size > LIMIT:
        with pytest.raises(errors.FrameTooLargeError):
            reader.next_frame()
    else:
        frame = reader.next_frame()
        assert (frame is not None) == (size == 0)


@pytest.mark.parametrize("word", [b"\xff" * 8, b"\x00" + b"\xff" * 7, b"\x02\x00\x00\x00\x40\x00\x00\x01"])
def test_an_over_long_length_is_refused_before_anything_is_allocated(word: bytes) -> None:
    tracemalloc.start()
    try:
        reader = FrameReader(1 << 30)
        reader.feed(word)
        with pytest.raises(errors.ProtocolError):
            reader.next_frame()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_length_that_never_comes_takes_little_more_than_what_came() -> None:
    tracemalloc.start()
    try:
        reader = FrameReader(1 << 30)
        reader.feed(header.pack(header.RAW, 1 << 30))
        came = 0
        while came < 1 << 20:
            assert reader.next_frame() is None
            with reader.buffer() as room:
                count = min(len(room), 16384)
            reader.received(count)
            came += count
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


@given(st.integers(1, 1 << 40))
def test_doubling_from_the_first_step_reaches_the_size_with_little_to_spare(size: int) -> None:
    step = buffers.first_step(size)
    assert 0 < step <= size and step <= 2 * buffers.FIRST_STEP
    reached, doublings = step, 0
    while reached < size:
        reached, doublings = 2 * reached, doublings + 1
    assert reached - size < 1 << doublings


def test_a_message_that_is_held_is_never_overwritten() -> None:
    bodies = [bytes([n]) * (2 << 20) for n in range(8)]
    reader = FrameReader(1 << 24)

    def receive(number: int, tag: int = header.RAW) -> bytearray:
        data = header.pack(tag, len(bodies[number])) + bodies[number]
        at = 0
        while (frame := reader.next_frame()) is None:
            room = reader.buffer()
            count = min(len(room), len(data) - at)
            room[:count] = data[at : at + count]
            room.release()
            reader.received(count)
            at += count
        return frame.body

    held = receive(0)
    view = memoryview(receive(1))[100:200]
    array = numpy.frombuffer(receive(2), dtype="u1")[::2]
    address = id(receive(3))
    assert id(receive(4)) == address, "memory that nobody holds is used again"
    for number in (5, 6, 7):
        receive(number)
    assert held == bodies[0] and bytes(view) == bodies[1][100:200] and (array == 2).all()
    del held, view, array
    assert reader.pool.release() >= 2 << 20


def test_arrays_in_a_pickle_lie_where_they_were_received() -> None:
    arrays = [numpy.arange(5000.0), numpy.arange(3), numpy.ones((100, 100))]
    encoded = codecs.encode_pickle({"a": arrays})
    assert any(isinstance(part, memoryview) and part.nbytes == 40000 for part in encoded.parts), (
        "sent in place"
    )
    body = bytearray().join(encoded.parts)
    got = codecs.decode_pickle(body)["a"]
    assert all(numpy.array_equal(a, b) for a, b in zip(arrays, got, strict=True))
    body[-8:] = numpy.array([7.0]).tobytes()
    assert got[2][-1, -1] == 7.0, "it is the received memory itself"
    assert got[0].flags.writeable
