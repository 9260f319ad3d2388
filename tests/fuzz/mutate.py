"""Streams that were good, and are not any more; and what must be true of reading them."""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from pathlib import Path

from parcs import errors
from parcs.wire import codecs, control, header
from parcs.wire.handshake import AcceptorV1, AcceptorV2, DialerV1, DialerV2, Handshake
from parcs.wire.reader import FrameReader

LIMIT = 1 << 16
HELLO = control.Hello("point", "a-1", "a-1", "", 1 << 20, 1.0)
VECTORS = json.loads((Path(__file__).parents[2] / "protocol" / "vectors.json").read_text())
NASTY = [
    b"\xff" * 8,
    b"\x00" * 8,
    struct.pack(">Q", LIMIT),
    struct.pack(">Q", LIMIT + 1),
    b"\x7f\xff\xff\xff",
    b"SYN",
]


def seeds() -> list[bytes]:
    """Good streams: every frame of the vectors, pickles, and every step of every handshake."""
    frames = [bytes.fromhex(vector["bytes"]) for vector in VECTORS["frames"]]
    for value in ([1, 2], {"a": bytes(5000)}, bytearray(6000)):
        encoded = codecs.encode_pickle(value)
        frames.append(header.pack(encoded.tag, encoded.size) + b"".join(encoded.parts))
    steps = [bytes.fromhex(step["receive"]) for v in VECTORS["handshakes"] for step in v["steps"]]
    return [seed for seed in frames + steps if seed]


def mutate(random_: random.Random, streams: list[bytes]) -> bytes:
    """One or two good streams, with a few bytes changed, cut out, doubled, or replaced by nasty ones."""
    data = bytearray(b"".join(random_.choices(streams, k=random_.randint(1, 3))))
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(5):
            case 0 if data:
                data[at % len(data)] ^= 1 << random_.randrange(8)
            case 1:
                del data[at : at + random_.randint(1, 16)]
            case 2:
                data[at:at] = data[at : at + random_.randint(1, 64)]
            case 3:
                nasty = random_.choice(NASTY)
                data[at : at + len(nasty)] = nasty
            case _:
                data[at:at] = random_.randbytes(random_.randint(1, 8))
    return bytes(data)


def read(data: bytes, random_: random.Random) -> str:
    """Read a stream to its end; returns the name of the documented error it ended in, or ``fine``.

    Pickles are not loaded: only a peer that proved the token may send one, and it may run anything anyway.
    """
    reader = FrameReader(LIMIT)
    at = 0
    try:
        while True:
            while (frame := reader.next_frame()) is not None:
                _decode(frame.tag, frame.body)
            if at == len(data):
                reader.end()
                return "fine"
            with reader.buffer() as room:
                assert room, "no room although no frame is complete"
                count = min(len(room), len(data) - at, random_.choice((1, 7, 1000, 65536)))
                room[:count] = data[at : at + count]
            reader.received(count)
            at += count
    except errors.ProtocolError as error:
        return type(error).__name__


def _decode(tag: int, body: bytearray) -> None:
    assert len(body) <= LIMIT
    try:
        if tag == header.CONTROL:
            control.parse(body)
        elif tag == header.ERROR:
            control.parse_error(body, "peer")
        elif tag == header.PICKLE:
            codecs._split_pickle(memoryview(body))
        elif tag != header.KEEPALIVE:
            codecs.decode(tag, body)
    except errors.DecodeError:
        return  # this frame is lost, the stream goes on


def greet(data: bytes, random_: random.Random) -> str:
    """Feed a stream to a handshake; returns the documented error, or how far it came."""
    machines: list[Handshake] = [
        DialerV1(),
        AcceptorV1(),
        DialerV2(b"t", HELLO),
        AcceptorV2(b"t", lambda h: h),
    ]
    machine = random_.choice(machines)
    machine.start()
    try:
        for at in range(0, len(data), 50):
            machine.receive(data[at : at + 50])
            if machine.is_done:
                return "fine"
    except errors.HandshakeError as error:
        return type(error).__name__
    return machine.end().__class__.__name__


def run(count: int, seed: int) -> Counter[str]:
    """Read and greet ``count`` mutated streams; returns how they ended. Any other exception escapes."""
    random_ = random.Random(seed)
    streams = seeds()
    endings: Counter[str] = Counter()
    for _ in range(count):
        data = mutate(random_, streams)
        endings[read(data, random_)] += 1
        endings[greet(data, random_)] += 1
    return endings
