"""What two ends of a channel say to each other besides user messages: bodies of CONTROL frames.

Each is a JSON object with ``kind``. Unknown keys are ignored and unknown kinds are an error, so a
later version may add keys but has to raise the protocol's number to add kinds.

    hello    who is speaking, in a handshake
    refused  why a handshake ends here, in words
    bye      nothing more comes from this end (then the connection is half closed)
    attach   to a point, from its creator: a direct channel to a sibling; accept it or dial it
    moving   the sender hands its end on; whoever shows the ticket next has it
    moved    the answer: the last frame this end sends on the old connection
    channel  here is the end of a channel, handed on; ``backlog`` frames follow that it had not read
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.wire import codecs, header

PROTOCOL: Final = 2

KINDS: Final = frozenset({"hello", "refused", "bye", "attach", "moving", "moved", "channel"})


class Hello(NamedTuple):
    """Who is speaking. Sent by both sides once the token is proved.

    ``role`` says what the connection is for: ``point`` (a point calls its creator), ``engine`` (a
    program calls its engine server), ``link`` (a channel between siblings or one that was handed on).
    ``ticket`` is what the acceptor waits for: a point's name, or a link's ticket. ``listen`` is where
    the speaker accepts calls itself, or empty; ``node`` the machine it runs on, in a cluster. Lengths are
    bytes, times seconds.
    """

    role: str
    name: str
    ticket: str
    listen: str
    frame_limit: int
    keepalive_s: float
    protocol: int = PROTOCOL
    parcs: str = ""
    language: str = "python"
    language_version: str = ""
    node: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the body of a control frame."""
        fields = self._asdict()
        if not self.node:
            del fields["node"]
        return {"kind": "hello", **fields}


_HELLO_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "role": str,
    "name": str,
    "ticket": str,
    "listen": str,
    "frame_limit": int,
    "keepalive_s": (int, float),
    "protocol": int,
    "parcs": str,
    "language": str,
    "language_version": str,
}


def parse_hello(body: dict[str, Any]) -> Hello:
    """A peer's hello.

    Raises:
        HandshakeError: a field is missing or of the wrong type.
        VersionMismatchError: it speaks another protocol.
    """
    protocol = body.get("protocol")
    if protocol != PROTOCOL:
        raise errors.VersionMismatchError(
            f"the peer (PARCS {body.get('parcs')!r}) speaks protocol {protocol!r} and this side speaks "
            f"{PROTOCOL}; install the same PARCS on both sides"
        )
    for key, kind in _HELLO_TYPES.items():
        value = body.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise errors.HandshakeError(f"the peer's hello has {key} = {value!r}")
    hello = Hello(**{key: body[key] for key in _HELLO_TYPES}, node=str(body.get("node", ""))[:256])
    if hello.frame_limit < 1 or not 0 <= hello.keepalive_s < 86400:
        raise errors.HandshakeError("the peer's hello has limits that make no sense")
    return hello


def parse(body: bytearray) -> dict[str, Any]:
    """The object in a CONTROL frame.

    Raises:
        DecodeError: it is not a control message.
    """
    value = codecs.decode_json(body)
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        raise errors.DecodeError("control", f"no control message: {str(value)[:80]}")
    return value


def frame(message: dict[str, Any]) -> bytes:
    """A whole CONTROL frame."""
    body = codecs.encode_json(message).parts[0]
    return header.pack(header.CONTROL, len(body)) + body


def parse_error(body: bytearray, point: str) -> errors.RemoteError:
    """The exception in an ERROR frame, as the receiver raises it."""
    value = codecs.decode_json(body)
    if not isinstance(value, dict):
        raise errors.DecodeError("error", "not an object")
    return errors.RemoteError(
        str(value.get("point") or point),
        str(value.get("type", "Error")),
        str(value.get("message", "")),
        str(value.get("traceback", "")),
    )


def error_body(point: str, error: BaseException, traceback: str) -> codecs.Encoded:
    """An exception as the body of an ERROR frame."""
    encoded = codecs.encode_json(
        {"type": type(error).__qualname__, "message": str(error), "traceback": traceback, "point": point}
    )
    return encoded._replace(tag=header.ERROR)
