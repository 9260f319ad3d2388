"""The wire's test vectors (protocol/vectors.json), run against this implementation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parcs import errors
from parcs.wire import codecs, control, header
from parcs.wire.handshake import AcceptorV1, AcceptorV2, DialerV1, DialerV2, Handshake
from parcs.wire.reader import FrameReader


def find() -> Path:
    """The vectors that came with this PARCS."""
    here = Path(__file__).parent / "vectors.json"
    return here if here.is_file() else Path(__file__).parents[3] / "protocol" / "vectors.json"


def load(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read a vectors file."""
    vectors: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return vectors


def check_frame(vector: dict[str, Any]) -> None:
    """A good frame: decoding gives its value, encoding its bytes."""
    data = bytes.fromhex(vector["bytes"])
    for cut in (data,), tuple(data[i : i + 1] for i in range(len(data))):
        reader = FrameReader(1 << 20)
        for piece in cut:
            reader.feed(piece)
        frame = reader.next_frame()
        assert frame is not None and frame.tag == vector["tag"], vector["name"]
        assert reader.next_frame() is None
        reader.end()
        if "body" in vector:
            assert frame.body.hex() == vector["body"], vector["name"]
        elif frame.tag == header.MSGPACK:
            assert codecs.decode(frame.tag, frame.body) == vector["value"], vector["name"]
        else:
            assert codecs.decode_json(frame.body) == vector["value"], vector["name"]
    if vector.get("encodes"):
        value = bytes.fromhex(vector["body"]) if "body" in vector else vector["value"]
        encoded = codecs.encode(value, vector["tag"])
        assert header.pack(encoded.tag, encoded.size) + b"".join(encoded.parts) == data, vector["name"]


def check_bad_stream(vector: dict[str, Any]) -> None:
    """A bad stream: reading it ends in its error."""
    data = bytes.fromhex(vector["bytes"])
    for size in (16384, 1):
        try:
            for frame in _frames(data, size, vector["limit"], vector["version"]):
                if frame.tag == header.CONTROL:
                    control.parse(frame.body)
                elif frame.tag in header.VALUE_TAGS:
                    codecs.decode(frame.tag, frame.body)
        except errors.ProtocolError as error:
            assert type(error).__name__ == vector["error"], f"{vector['name']}: {error!r}"
        else:
            raise AssertionError(f"{vector['name']}: no error")


def _frames(data: bytes, size: int, limit: int, version: int) -> Iterator[Any]:
    reader = FrameReader(limit, header.TAGS_V1 if version == 1 else header.TAGS_V2)
    for at in range(0, len(data), size):
        yield from reader.frames(data[at : at + size])
    reader.end()


def check_handshake(vector: dict[str, Any]) -> None:
    """A handshake: each step sends what it should; the last may end in an error."""
    for is_whole in (True, False):
        machine = _machine(vector)
        for number, step in enumerate(vector["steps"]):
            data = bytes.fromhex(step["receive"])
            pieces = [data] if is_whole else [data[i : i + 1] for i in range(len(data))]
            try:
                sent = machine.start() if number == 0 else b"".join(map(machine.receive, pieces))
            except errors.HandshakeError as error:
                assert type(error).__name__ == step.get("error"), f"{vector['name']}: {error!r}"
                assert machine.refusal.hex() == step.get("refusal", ""), f"{vector['name']}: the refusal"
                break
            assert "error" not in step, f"{vector['name']}: no error"
            assert sent.hex() == step["send"], f"{vector['name']}: step {number}"
        else:
            assert machine.is_done, vector["name"]


def _machine(vector: dict[str, Any]) -> Handshake:
    token, nonce = bytes.fromhex(vector.get("token", "")), bytes.fromhex(vector.get("nonce", ""))
    side = vector["side"]
    if side == "dialer-1":
        return DialerV1()
    if side == "acceptor-1":
        return AcceptorV1()
    hello = control.parse_hello(vector["hello"])
    return DialerV2(token, hello, nonce) if side == "dialer-2" else AcceptorV2(token, lambda _: hello, nonce)
