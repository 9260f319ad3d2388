"""What is asked of a test program as a point. Each check has a program of its own, and says what is wrong."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.engine.base import Engine
from parcs.testing import vectors
from parcs.testing.conformance.program import VALUES
from parcs.testing.conformance.raw import Started, Stream
from parcs.wire import codecs, header
from parcs.wire.handshake import MAGIC, NONCE, PROOF, DialerV1

_SOON_S: Final = 20.0
_LARGE: Final = 64 << 20


class Subject(NamedTuple):
    """The program under test: how to start it by hand, and an engine that has it as ``program``."""

    command: Sequence[str]
    folder: Path
    engine: Engine

    def start(self, **environment: str) -> Started:
        """Start it by hand, as a point of the kit."""
        return Started(self.command, self.folder, environment)


def says_who_it_is(subject: Subject) -> None:
    with subject.engine.run("program") as point:
        peer = point.channel.peer
        assert peer.language, "its hello has no language"
        assert peer.frame_limit >= 1 << 20, f"its hello allows {peer.frame_limit} bytes only"


def echoes_json(subject: Subject) -> None:
    _echo(subject, [*VALUES, "x" * 200_000, list(range(10_000))], "json")


def echoes_msgpack(subject: Subject) -> None:
    _echo(subject, [{"bytes": b"\0\xff", "list": [1, -(2**40), 0.5, None, True]}, [b""]], "msgpack")


def echoes_raw_bytes(subject: Subject) -> None:
    sizes = (0, 1, 65527, 65528, 65529, 65536, (1 << 20) + 1)
    _echo(subject, [bytes([size % 251]) * size for size in sizes], "raw")


def _echo(subject: Subject, values: list[Any], codec: str) -> None:
    with subject.engine.run("program") as point:
        point.send(["echo", len(values)])
        for value in values:
            point.send(value, codec)
            got = point.recv(timeout=_SOON_S)
            assert got == value, f"{str(value)[:80]} came back as {str(got)[:80]}"


def takes_100_000_small_messages(subject: Subject) -> None:
    with subject.engine.run("program") as point:
        point.send(["sum", 100_000])
        for i in range(100_000):
            point.send(i)
        assert point.recv(timeout=60) == sum(range(100_000))


def takes_a_gigabyte(subject: Subject) -> None:
    with subject.engine.run("program") as point:
        point.send(["sink", 16])
        body = bytes(_LARGE)
        for _ in range(16):
            point.send(body)
        assert point.recv(timeout=60) == 16 * _LARGE


def sends_a_gigabyte(subject: Subject) -> None:
    with subject.engine.run("program") as point:
        point.send(["source", 16, _LARGE])
        assert sum(len(point.recv(timeout=60)) for _ in range(16)) == 16 * _LARGE


def its_errors_arrive(subject: Subject) -> None:
    with subject.engine.run("program") as point:
        point.send(["fail", "on purpose"])
        try:
            point.recv(timeout=_SOON_S)
        except errors.RemoteError as error:
            assert "on purpose" in str(error), f"the error says {error}"
            return
    raise AssertionError("no error frame came")


def siblings_talk(subject: Subject) -> None:
    left, right = subject.engine.run_all("program", 2)
    left.link(right, "right", "left")
    left.send(["peer", "right", 1000])
    right.send(["peer", "left", 1000])
    assert (left.recv(timeout=_SOON_S), right.recv(timeout=_SOON_S)) == (499_500, 499_500)
    left.shutdown()
    right.shutdown()


def says_goodbye(subject: Subject) -> None:
    with subject.start() as program:
        stream = program.greet()
        stream.send(header.JSON, b'["end"]')
        frame = stream.recv()
        assert frame is not None, "it went without a goodbye"
        assert frame[0] == header.CONTROL and json.loads(frame[1])["kind"] == "bye", f"it said {frame}"
        assert stream.recv() is None, "something came after the goodbye"
        stream.sock.close()
        assert program.wait(_SOON_S) == 0, "it did not end with status 0"


def refuses_a_wrong_token(subject: Subject) -> None:
    with subject.start(PARCS_TOKEN="another token") as program:  # noqa: S106
        try:
            program.greet()
        except errors.HandshakeError:
            assert program.wait(_SOON_S) not in (0, None), "it ended as if all were well, or not at all"
            return
    raise AssertionError("it proved itself to a stranger")


def tells_a_stranger_nothing(subject: Subject) -> None:
    with subject.start() as program:
        sock = program.accept()
        opening = sock.recv(len(MAGIC) + NONCE, socket.MSG_WAITALL)
        assert opening[: len(MAGIC)] == MAGIC, f"it began with {opening[:8]!r}"
        sock.sendall(MAGIC + bytes(NONCE) + bytes(PROOF))  # a proof that is none
        assert sock.recv(1) == b"", "it answered a wrong proof"
        sock.close()


def keeps_to_the_limit_of_the_peer(subject: Subject) -> None:
    with subject.start() as program:
        stream = program.greet(frame_limit=1000)
        stream.send(header.JSON, b'["source", 1, 5000]')
        while (frame := stream.recv()) is not None and frame[0] not in (header.ERROR, header.CONTROL):
            assert len(frame[1]) <= 1000, f"{len(frame[1])} bytes came, where 1000 were allowed"


def refuses_what_is_over_its_limit(subject: Subject) -> None:
    with subject.start(PARCS_FRAME_LIMIT="4096") as program:
        stream = program.greet()
        stream.sock.sendall(header.pack(header.RAW, 5000))
        assert stream.ends(_SOON_S), "it waits for a body over its limit"


def shows_signs_of_life(subject: Subject) -> None:
    with subject.start(PARCS_KEEPALIVE="0.2") as program:
        stream = program.greet()
        seen, until = 0, time.monotonic() + 3.0
        while seen < 3 and time.monotonic() < until:
            frame = stream.any_frame()
            assert frame == (header.KEEPALIVE, b""), f"unasked, it said {frame}"
            seen += 1
        assert seen == 3, f"{seen} signs of life in 3 s, where one each 0.2 s was asked for"


def gives_a_silent_peer_up(subject: Subject) -> None:
    with subject.start(PARCS_SILENCE="1") as program:
        stream = program.greet(keepalive_s=0.1)
        assert stream.ends(10.0), "it still waits for a peer that promised signs of life and gives none"


def drops_signs_of_life(subject: Subject) -> None:
    with subject.start() as program:
        stream = program.greet()
        keepalive = header.pack(header.KEEPALIVE, 0)
        stream.sock.sendall(keepalive * 1000)
        stream.send(header.JSON, b'["echo", 1]')
        stream.sock.sendall(keepalive)
        stream.send(header.JSON, b'"still here"')
        frame = stream.recv()
        assert frame is not None and json.loads(frame[1]) == "still here", f"it answered {frame}"


def survives_every_cut(subject: Subject) -> None:
    """A stream that comes byte by byte."""
    with subject.start() as program:
        stream = program.greet()
        stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b'["echo", 1]', b'{"a": [1, 2, 3]}'):
            for byte in header.pack(header.JSON, len(part)) + part:
                stream.sock.sendall(bytes([byte]))
        frame = stream.recv()
        assert frame is not None and json.loads(frame[1]) == {"a": [1, 2, 3]}, f"it answered {frame}"


def echoes_every_vector(subject: Subject) -> None:
    """The vectors' good frames, byte for byte."""
    with subject.start() as program:
        stream = program.greet()
        for vector in vectors.load(vectors.find())["frames"]:
            if vector["tag"] not in (header.JSON, header.MSGPACK, header.RAW):
                continue
            data = bytes.fromhex(vector["bytes"])
            stream.send(header.JSON, b'["echo", 1]')
            stream.sock.sendall(data)
            frame = stream.recv()
            assert frame is not None, f"{vector['name']}: it ended"
            got = codecs.decode(frame[0], bytearray(frame[1]))
            wanted = codecs.decode(vector["tag"], bytearray(data[header.SIZE :]))
            assert got == wanted, f"{vector['name']} came back as {frame}"


def ends_on_every_bad_stream(subject: Subject) -> None:
    """The vectors' bad streams, each to a new program: it ends, and does not hang."""
    for vector in vectors.load(vectors.find())["bad_streams"]:
        if vector["version"] != 2:
            continue
        with subject.start(PARCS_FRAME_LIMIT=str(max(vector["limit"], 1024))) as program:
            stream = program.greet()
            stream.sock.sendall(bytes.fromhex(vector["bytes"]))
            if vector["error"] in ("TruncatedFrameError", "DecodeError"):
                stream.sock.shutdown(socket.SHUT_WR)
            elif vector["limit"] < 1024:
                continue  # below the least limit a program can be given
            assert stream.ends(_SOON_S), f"{vector['name']}: it goes on"
            stream.sock.close()
            assert program.wait(_SOON_S) is not None, f"{vector['name']}: it does not end"


def speaks_version_1(subject: Subject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with subject.start(PARCS_CALL="", PARCS_LISTEN=f"127.0.0.1:{port}"):
        sock = _dial(port)
        greeting = DialerV1()
        sock.sendall(greeting.start())
        assert sock.recv(3, socket.MSG_WAITALL) == b"ACK", "SYN was not answered by ACK"
        stream = Stream(sock, b"", header.TAGS_V1)
        stream.send(header.JSON, b'["sum", 3]')
        for number in (1, 2, 3):
            stream.send(header.JSON, str(number).encode())
        assert stream.any_frame() == (header.JSON, b"6"), "it did not add up"
        stream.send(header.JSON, b'["end"]')
        assert stream.any_frame() is None, "something came after the end: version 1 has no goodbye"


def _dial(port: int) -> socket.socket:
    deadline = time.monotonic() + _SOON_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_SOON_S)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "it does not listen where PARCS_LISTEN says"
            time.sleep(0.02)


CHECKS: Final[list[Callable[[Subject], None]]] = [
    says_who_it_is,
    echoes_json,
    echoes_msgpack,
    echoes_raw_bytes,
    echoes_every_vector,
    takes_100_000_small_messages,
    takes_a_gigabyte,
    sends_a_gigabyte,
    its_errors_arrive,
    siblings_talk,
    says_goodbye,
    refuses_a_wrong_token,
    tells_a_stranger_nothing,
    keeps_to_the_limit_of_the_peer,
    refuses_what_is_over_its_limit,
    shows_signs_of_life,
    gives_a_silent_peer_up,
    drops_signs_of_life,
    survives_every_cut,
    ends_on_every_bad_stream,
    speaks_version_1,
]
