"""The way in from outside, and the way back: TLS at the node's own port, relayed channels behind it.

    program outside ── TLS, "engine" ──▶ joined to the engine server's own port
    program outside ── TLS, "line"  ──▶ proves its job's token, then waits
    point ── its call (first bytes: its job's id) ──▶ joined to a waiting line of that job

Joined means: bytes are passed on, nothing is looked at. So a point and a program outside prove their token to
each other, and the relay could not pretend to be either.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from parcs import errors
from parcs.channel import sockets, tls, waiting
from parcs.channel.dialer import greet
from parcs.model.settings import Settings
from parcs.version import VERSION
from parcs.wire import control
from parcs.wire.handshake import MAGIC, NONCE, SPACE, AcceptorV2

logger = logging.getLogger("parcs.engine")

_CHUNK: Final = 256 * 1024
_RECORD: Final = 16384
_SPIN_S: Final = 0.0002
"""How long to look again before sleeping: a sleep and a wake-up cost more than most answers take."""
_LINE_S: Final = 15.0
_LOOK_S: Final = 1.0
_MOST: Final = 4096


class Relay:
    """Both ports. Threads: one for each port, one for each connection.

    Args:
        token_of: the token of a job, by its space.
        outside: where to listen with TLS.
        inside: where points call; port 0 is chosen by the system.
        engine: the engine server's own port.
    """

    def __init__(
        self,
        token_of: Callable[[bytes], bytes],
        context: ssl.SSLContext,
        outside: tuple[str, int],
        inside: tuple[str, int],
        engine: tuple[str, int],
        settings: Settings,
    ) -> None:
        self._token_of, self._context, self._engine, self._settings = token_of, context, engine, settings
        context.set_alpn_protocols([tls.ENGINE, tls.LINE])
        self._lines: dict[bytes, deque[tls.TlsSocket]] = {}
        self._changed = threading.Condition()
        self._count = 0
        self._outside, self._inside = (socket.create_server(at, backlog=1024) for at in (outside, inside))
        self.outside_port, self.inside_port = (s.getsockname()[1] for s in (self._outside, self._inside))
        for sock, serve in ((self._outside, self._serve_outside), (self._inside, self._serve_point)):
            self._thread(self._accept, sock, serve)

    def close(self) -> None:
        """Stop listening, and drop the lines. What is joined goes on until one side ends it."""
        for sock in (self._outside, self._inside):
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        with self._changed:
            for lines in self._lines.values():
                for line in lines:
                    line.close()
            self._lines.clear()

    def statistics(self) -> dict[str, int]:
        """What is open: connections, and lines that wait."""
        with self._changed:
            return {"connections": self._count, "lines": sum(map(len, self._lines.values()))}

    def _thread(self, target: Callable[..., None], *words: Any) -> None:
        threading.Thread(target=target, args=words, name=f"{waiting.OWN_THREAD}relay", daemon=True).start()

    def _accept(self, server: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return  # closed
            if self._count >= _MOST:
                sock.close()
                logger.warning("the relay has %d connections; one more was refused", self._count)
                continue
            self._thread(self._guard, sock, serve)

    def _guard(self, sock: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        """One connection's thread: whatever a caller does harms nobody else."""
        with self._changed:
            self._count += 1
        try:
            sockets.tune(sock, self._settings.host_silence_s)
            sock.settimeout(self._settings.handshake_timeout_s)
            serve(sock)
        except errors.AuthenticationError as error:
            logger.warning("the relay refused a caller: %s", error)
            sock.close()
        except (OSError, errors.ParcsError) as error:
            logger.debug("a relayed connection ended: %s", error)
            sock.close()
        finally:
            with self._changed:
                self._count -= 1

    def _serve_outside(self, sock: socket.socket) -> None:
        secure = tls.TlsSocket(sock, self._context, is_server=True)
        try:
            if secure.purpose == tls.LINE:
                self._keep_line(secure)
            else:
                engine = socket.create_connection(self._engine, timeout=self._settings.handshake_timeout_s)
                join(secure, engine, self._settings.host_silence_s)
        except BaseException:
            secure.close()
            raise

    def _keep_line(self, line: tls.TlsSocket) -> None:
        hello = control.Hello("line", "relay", "", "", self._settings.frame_limit, 0.0, parcs=VERSION)
        machine = AcceptorV2(self._token_of, lambda _: hello)
        greet(line, machine, self._settings, "a line")  # type: ignore[arg-type]  # as much socket as it needs
        with self._changed:
            self._lines.setdefault(machine.space, deque()).append(line)
            self._changed.notify_all()

    def _serve_point(self, sock: socket.socket) -> None:
        opening = b""
        while len(opening) < len(MAGIC) + NONCE:
            data = sock.recv(len(MAGIC) + NONCE - len(opening))
            if not data or not MAGIC.startswith((opening + data)[: len(MAGIC)]):
                raise errors.HandshakeError("a caller that is no point")
            opening += data
        line = self._take_line(opening[len(MAGIC) : len(MAGIC) + SPACE])
        with closing(line):
            line.sendall(opening)
            join(line, sock, self._settings.host_silence_s)

    def _take_line(self, space: bytes) -> tls.TlsSocket:
        """A line of that job that is still alive."""
        deadline = time.monotonic() + _LINE_S
        with self._changed:
            while True:
                lines = self._lines.get(space)
                while lines:
                    line = lines.popleft()
                    if not lines:
                        del self._lines[space]
                    if not sockets.is_readable(line, 0):  # type: ignore[arg-type]  # it has a descriptor
                        return line
                    line.close()  # its program has gone
                left = deadline - time.monotonic()
                if left <= 0:
                    raise errors.HandshakeError("a point called for a program that has no line open")
                self._changed.wait(min(left, _LOOK_S))


class _Direction:
    """Bytes from one socket to the other: read only when all that was read before has gone out."""

    def __init__(self, source: Any, target: Any) -> None:
        self.source, self.target = source, target
        self.buffer = memoryview(bytearray(_CHUNK))
        self.rest = self.buffer[:0]
        self.is_over = False
        self.last = 0

    def read(self) -> None:
        """Take what has come, and pass it on."""
        count = self.last = self._fill()
        if count > 0:
            self.rest = self.buffer[:count]
            self.write()
        elif count == 0:
            self.is_over = True
            self.target.shutdown(socket.SHUT_WR)

    def _fill(self) -> int:
        """Bytes read; -1 if there are none yet."""
        try:
            return int(self.source.recv_into(self.buffer, 0, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return -1

    def write(self) -> None:
        """Pass on what is left."""
        try:
            while self.rest:
                self.rest = self.rest[self.target.send(self.rest) :]
        except BlockingIOError:
            return  # the rest when the target takes it


def join(one: Any, other: Any, silence_s: float) -> None:
    """Pass bytes between two sockets both ways until both have ended, or one has broken; closes them.

    A machine that acknowledges nothing for ``silence_s`` counts as dead.
    """
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    ways = {one.fileno(): _Direction(one, other), other.fileno(): _Direction(other, one)}
    back = {one.fileno(): ways[other.fileno()], other.fileno(): ways[one.fileno()]}
    poller = select.poll()
    wanted = dict.fromkeys(ways, select.POLLIN)
    for descriptor, events in wanted.items():
        poller.register(descriptor, events)
    looked = active = time.monotonic()
    try:
        for way in ways.values():
            way.read()  # what came with the greeting makes no descriptor readable
        is_plain = _watch(poller, wanted, ways, back)
        while not all(way.is_over for way in ways.values()):
            # Spinning shortens a conversation's round trips; a stream needs the processor for itself.
            is_active = time.monotonic() - active < _SPIN_S and all(w.last < _RECORD for w in ways.values())
            ready = poller.poll(0 if is_active else _LOOK_S * 1000)
            for descriptor, events in ready:
                _move(events, ways[descriptor], back[descriptor])
            if ready:
                active = time.monotonic()
                if is_plain and not any(way.rest or way.is_over for way in ways.values()):
                    continue  # nearly always: everything went through at once
                is_plain = _watch(poller, wanted, ways, back)
            elif is_active and active - looked <= _LOOK_S:
                os.sched_yield()  # the answer may have to be made on this very processor
            else:
                looked = time.monotonic()
                if any(sockets.silent_for(sock) > silence_s for sock in (one, other)):
                    return
    except OSError:
        return  # one side is gone: so is the connection
    finally:
        one.close()
        other.close()


def _move(events: int, way: _Direction, back: _Direction) -> None:
    """What a descriptor is ready for: ``way`` reads from it, ``back`` writes to it."""
    if events & select.POLLOUT:
        back.write()
    if events & ~select.POLLOUT and not way.rest and not way.is_over:
        way.read()


def _watch(
    poller: select.poll,
    wanted: dict[int, int],
    ways: dict[int, _Direction],
    back: dict[int, _Direction],
) -> bool:
    """Have the poller look at what could move now; True if that is: whatever comes, from both."""
    for descriptor, before in list(wanted.items()):
        way = ways[descriptor]
        events = 0 if way.rest or way.is_over else select.POLLIN
        events |= select.POLLOUT if back[descriptor].rest else 0
        if events != before:
            wanted[descriptor] = events
            if events:
                poller.register(descriptor, events)
            else:
                poller.unregister(descriptor)  # a hang-up alone would wake it for ever
    return all(events == select.POLLIN for events in wanted.values())
