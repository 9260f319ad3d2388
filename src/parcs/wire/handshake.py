"""The greetings of version 1 and version 2, as machines over bytes.

A machine is started with `start` (bytes to send first, maybe none), then `receive` takes whatever
arrived and gives the bytes to send in answer; once `is_done`, `peer` is the other side's hello and
`leftover` the bytes that came after the handshake and belong to the channel. Any error a machine raises
ends the connection; the exception's text may be logged, and `refusal` is what to tell the peer, if it
proved the token.

A wrong token never shows what was wrong: the acceptor proves itself first, so the side with the wrong
token is the one that finds out.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Final

from parcs import errors
from parcs.wire import control, header, state
from parcs.wire.state import Input, State

SYN: Final = b"SYN"
ACK: Final = b"ACK"
MAGIC: Final = b"PARCS\x002\n"
NONCE: Final = 32
SPACE: Final = 8
"""The first bytes of a dialler's nonce name its control space, for a server of many jobs."""
PROOF: Final = 32
HELLO_LIMIT: Final = 16 * 1024


def proof(token: bytes, role: bytes, dialer_nonce: bytes, acceptor_nonce: bytes) -> bytes:
    """HMAC-SHA256 of ``role``, both nonces, under the token. ``role`` is b"dialer" or b"acceptor"."""
    return hmac.digest(token, role + dialer_nonce + acceptor_nonce, "sha256")


def new_nonce(space: str) -> bytes:
    """A dialler's nonce: the 8 bytes of its control space (16 hexadecimal digits), then random bytes."""
    try:
        head = bytes.fromhex(space)
    except ValueError:
        head = b""
    return (head if len(head) == SPACE else os.urandom(SPACE)) + os.urandom(NONCE - SPACE)


class Handshake:
    """What the four machines share: the state, the bytes not yet used, and the result."""

    table: state.Table

    def __init__(self) -> None:
        self.state = State.NEW
        self.peer: control.Hello | None = None
        self.refusal: bytes = b""
        self._data = bytearray()

    @property
    def is_done(self) -> bool:
        """Whether the channel is live."""
        return self.state is State.DONE

    @property
    def leftover(self) -> bytes:
        """Bytes that came after the handshake."""
        return bytes(self._data) if self.is_done else b""

    def start(self) -> bytes:
        """What to send first."""
        self._move(Input.START)
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; returns what to send in answer.

        Raises:
            HandshakeError: the peer is not what it should be. The machine is FAILED then.
        """
        self._data += data
        answer = b""
        try:
            while not self.is_done:
                before = self.state
                answer += self._advance()
                if self.state is before:
                    break
        except errors.ProtocolError as error:
            self.state = State.FAILED
            if isinstance(error, errors.HandshakeError):
                raise
            raise errors.HandshakeError(str(error)) from error
        return answer

    def end(self) -> errors.HandshakeError:
        """The error to raise when the peer closed the connection in mid-handshake."""
        return errors.HandshakeError(f"the peer closed the connection in state {self.state.value}")

    def _advance(self) -> bytes:
        raise NotImplementedError

    def _move(self, event: Input) -> None:
        self.state = state.step(self.table, self.state, event)

    def _expect(self, expected: bytes, what: str) -> bool:
        """Whether the data starts with all of ``expected``; refuses at the first wrong byte."""
        have = bytes(self._data[: len(expected)])
        if not expected.startswith(have):
            raise errors.HandshakeError(f"the peer said {bytes(self._data[:16])!r} where {what} belongs")
        return len(have) == len(expected)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def _take_control(self) -> dict[str, object] | None:
        """The control frame at the head of the data, once it is whole."""
        if len(self._data) < header.SIZE:
            return None
        tag, size = header.unpack(self._data)
        header.check(tag, size, frozenset({header.CONTROL}), HELLO_LIMIT)
        if len(self._data) < header.SIZE + size:
            return None
        self._take(header.SIZE)
        return control.parse(bytearray(self._take(size)))


class DialerV1(Handshake):
    """The creator's side of version 1: says SYN, expects ACK."""

    table = state.DIALER_V1

    def start(self) -> bytes:
        super().start()
        return SYN

    def _advance(self) -> bytes:
        if self._expect(ACK, "ACK"):
            self._take(len(ACK))
            self._move(Input.ACK)
        return b""


class AcceptorV1(Handshake):
    """The point's side of version 1: expects SYN, says ACK."""

    table = state.ACCEPTOR_V1

    def _advance(self) -> bytes:
        if not self._expect(SYN, "SYN"):
            return b""
        self._take(len(SYN))
        self._move(Input.SYN)
        return ACK


class DialerV2(Handshake):
    """The side that calls: a point calling its creator, a program calling its engine.

    Args:
        token: the job's token.
        hello: what to say of ourselves once both sides have proved it.
        nonce: 32 bytes; see `new_nonce`.
    """

    table = state.DIALER_V2

    def __init__(self, token: bytes, hello: control.Hello, nonce: bytes | None = None) -> None:
        super().__init__()
        self._token, self._hello = token, hello
        self._nonce = nonce or new_nonce("")

    def start(self) -> bytes:
        super().start()
        return MAGIC + self._nonce

    def _advance(self) -> bytes:
        if self.state is State.AWAIT_CHALLENGE:
            if not self._expect(MAGIC, "the challenge") or len(self._data) < len(MAGIC) + NONCE + PROOF:
                return b""
            self._take(len(MAGIC))
            theirs, proved = self._take(NONCE), self._take(PROOF)
            if not hmac.compare_digest(proved, proof(self._token, b"acceptor", self._nonce, theirs)):
                raise errors.AuthenticationError(
                    "the other side does not know this job's token: PARCS_TOKEN is not the one it expects, "
                    "or the address belongs to another job"
                )
            self._move(Input.CHALLENGE)
            mine = proof(self._token, b"dialer", self._nonce, theirs)
            return mine + control.frame(self._hello.to_json())
        message = self._take_control()
        if message is None:
            return b""
        if message["kind"] == "refused":
            raise errors.VersionMismatchError(str(message.get("reason", "the peer refused the connection")))
        if message["kind"] != "hello":
            raise errors.HandshakeError(f"the peer said {message['kind']!r} where its hello belongs")
        self.peer = control.parse_hello(message)
        self._move(Input.WELCOME)
        return b""


class AcceptorV2(Handshake):
    """The side that is called.

    Args:
        token: the job's token, or what gives the token of the caller's space (8 bytes of its nonce).
        answer: makes our hello from theirs; may raise `HandshakeError` to refuse in words.
        nonce: 32 bytes; random unless a test vector fixes them.
    """

    table = state.ACCEPTOR_V2

    def end(self) -> errors.HandshakeError:
        if self.state is State.AWAIT_PROOF:
            return errors.AuthenticationError("a caller left when it saw our proof: it has another token")
        return super().end()

    def __init__(
        self,
        token: bytes | Callable[[bytes], bytes],
        answer: Callable[[control.Hello], control.Hello],
        nonce: bytes | None = None,
    ) -> None:
        super().__init__()
        self._token_of = token if callable(token) else lambda _: token
        self._answer = answer
        self._nonce = nonce or os.urandom(NONCE)
        self._theirs = self._token = b""

    @property
    def space(self) -> bytes:
        """The control space that the caller named in its opening: 8 bytes."""
        return self._theirs[:SPACE]

    def _advance(self) -> bytes:
        if self.state is State.AWAIT_OPENING:
            if not self._expect(MAGIC, "a PARCS greeting") or len(self._data) < len(MAGIC) + NONCE:
                return b""
            self._take(len(MAGIC))
            self._theirs = self._take(NONCE)
            self._token = self._token_of(self.space)
            self._move(Input.OPENING)
            return MAGIC + self._nonce + proof(self._token, b"acceptor", self._theirs, self._nonce)
        if self.state is State.AWAIT_PROOF:
            if len(self._data) < PROOF:
                return b""
            expected = proof(self._token, b"dialer", self._theirs, self._nonce)
            if not hmac.compare_digest(self._take(PROOF), expected):
                raise errors.AuthenticationError("a caller could not prove the job's token; it was refused")
            self._move(Input.PROOF)
            return b""
        message = self._take_control()
        if message is None:
            return b""
        try:
            if message["kind"] != "hello":
                raise errors.HandshakeError(f"the peer said {message['kind']!r} where its hello belongs")
            self.peer = control.parse_hello(message)
            mine = self._answer(self.peer)
        except errors.HandshakeError as error:
            self.refusal = control.frame({"kind": "refused", "reason": str(error)})
            raise
        self._move(Input.HELLO)
        return control.frame(mine.to_json())
