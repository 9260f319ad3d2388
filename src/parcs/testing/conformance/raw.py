"""A peer that says what it is told, byte by byte: what well-behaved endpoints never would."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from parcs.contract import engine as contract
from parcs.wire import control, header
from parcs.wire.handshake import AcceptorV2, Handshake
from parcs.wire.reader import FrameReader

TOKEN: Final = b"the conformance kit's token"
_START_S: Final = 60.0


class Started:
    """The test program, started by hand; and, as its creator, a listening socket. A context manager."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(_START_S)
        port = self._server.getsockname()[1]
        outer = {key: value for key, value in os.environ.items() if not key.startswith("PARCS_")}
        own = {
            contract.CALL_VARIABLE: f"tcp://127.0.0.1:{port}",
            contract.POINT_VARIABLE: "program-1",
            contract.TOKEN_VARIABLE: TOKEN.decode(),
        }
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**outer, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def accept(self) -> socket.socket:
        """The program's call."""
        sock, _ = self._server.accept()
        sock.settimeout(10.0)
        return sock

    def greet(self, frame_limit: int = 1 << 30, keepalive_s: float = 0.0) -> Stream:
        """Take its call and greet it as a creator does."""
        sock = self.accept()
        mine = control.Hello("point", "kit", "", "", frame_limit, keepalive_s, parcs="kit", language="kit")
        machine = AcceptorV2(TOKEN, lambda caller: mine)
        converse(sock, machine)
        return Stream(sock, machine.leftover)

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, if it ends in time; else None."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Stream:
    """A greeted connection: frames in, any bytes out."""

    def __init__(
        self, sock: socket.socket, leftover: bytes, allowed: frozenset[int] = header.TAGS_V2
    ) -> None:
        self.sock = sock
        self._reader = FrameReader(1 << 30, allowed)
        self._ready = list(self._reader.frames(leftover))

    def send(self, tag: int, body: bytes) -> None:
        """One frame."""
        self.sock.sendall(header.pack(tag, len(body)) + body)

    def recv(self) -> tuple[int, bytes] | None:
        """The next frame that is no sign of life; None at the end of the stream."""
        while (frame := self.any_frame()) is not None and frame[0] == header.KEEPALIVE:
            continue
        return frame

    def any_frame(self) -> tuple[int, bytes] | None:
        """The next frame, whatever it is; None at the end of the stream."""
        while not self._ready:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._ready += self._reader.frames(data)
        frame = self._ready.pop(0)
        return frame.tag, bytes(frame.body)

    def ends(self, timeout_s: float) -> bool:
        """Whether the other side ends the connection in time, whatever it says before."""
        deadline = time.monotonic() + timeout_s
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not self.sock.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False


def converse(sock: socket.socket, machine: Handshake) -> None:
    """Run a handshake to its end."""
    out = machine.start()
    while True:
        if out:
            sock.sendall(out)
        if machine.is_done:
            return
        data: Any = sock.recv(16384)
        if not data:
            raise machine.end()
        out = machine.receive(data)
