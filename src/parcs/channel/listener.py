"""Where calls come in.

One thread greets any number of callers at once, each with a time limit, so a caller that says nothing
delays nobody. Who proves the token and says hello is kept until somebody claims its ticket; everybody else
is refused and logged, and the program never hears of it.
"""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from parcs import errors
from parcs.channel import base, waiting
from parcs.channel.tcp import Connection
from parcs.model.address import Address
from parcs.model.settings import Settings
from parcs.wire import control
from parcs.wire.handshake import AcceptorV2
from parcs.wire.reader import FrameReader

_MOST_PENDING: Final = 512

logger = logging.getLogger("parcs.channel")


class Caller:
    """One connection in mid-handshake."""

    def __init__(self, sock: Any, machine: AcceptorV2, until: float) -> None:
        self.sock, self.machine, self.until = sock, machine, until


class Listener:
    """Accepts version 2 calls on one address, and holds them for whoever claims their tickets.

    Attributes:
        idle_lines: how many connections to a relay wait for a call.

    Args:
        host: the address to bind; the port is chosen by the system.
        token: what callers must prove.
        hello: makes our hello in answer to a caller's.
    """

    def __init__(
        self, host: str, token: bytes, settings: Settings, hello: Callable[[control.Hello], control.Hello]
    ) -> None:
        self._token, self._settings, self._hello = token, settings, hello
        self._sock = socket.create_server((host, 0), backlog=1024)
        self._sock.setblocking(False)
        self.address = Address(*self._sock.getsockname()[:2])
        self._arrived: dict[str, Connection] = {}
        self._lines: deque[Any] = deque()
        self.idle_lines = 0
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"{waiting.OWN_THREAD}listener", daemon=True)
        self._thread.start()

    def claim(
        self, ticket: str, timeout_s: float, give_up: Callable[[], BaseException | None] = lambda: None
    ) -> Connection:
        """Wait for the caller who shows ``ticket``.

        ``give_up`` is asked after each `poke` and may return an error to raise instead of waiting on.

        Raises:
            ChannelTimeoutError: nobody showed it in time.
        """
        return self.claim_any({ticket}, timeout_s, give_up)[1]

    def claim_any(
        self,
        tickets: set[str],
        timeout_s: float,
        give_up: Callable[[], BaseException | None] = lambda: None,
    ) -> tuple[str, Connection]:
        """Wait for the first caller who shows one of several tickets; as `claim`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (arrived := tickets & self._arrived.keys()):
                error = give_up()
                if error is not None:
                    raise error
                left = deadline - time.monotonic()
                if left <= 0 or self._over:
                    raise errors.ChannelTimeoutError(f"nobody called within {timeout_s:g} s")
                self._changed.wait(left)
            ticket = arrived.pop()
            return ticket, self._arrived.pop(ticket)

    def adopt(self, line: Any) -> None:
        """Greet whoever comes through ``line``, a socket that is connected already, whenever that is."""
        line.setblocking(False)
        self.idle_lines += 1
        self._lines.append(line)
        self._wake.send(b"x")

    def poke(self) -> None:
        """Have everybody who waits in `claim` ask its ``give_up`` again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop accepting; calls that nobody claimed are dropped."""
        if self._over:
            return
        self._over = True
        self._wake.send(b"x")
        self._thread.join(timeout=5.0)
        with self._changed:
            for connection in self._arrived.values():
                connection.sock.close()
            self._arrived.clear()
            self._changed.notify_all()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        callers: dict[socket.socket, Caller] = {}
        self._selector.register(self._sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while not self._over:
            for key, _ in self._selector.select(1.0 if callers else None):
                if key.fileobj is self._sock:
                    self._accept(callers)
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._take_lines(callers)
                else:
                    self._hear(callers[key.fileobj], callers)  # type: ignore[index]  # only sockets are registered
            now = time.monotonic()
            self.idle_lines = len(self._lines) + sum(c.until == math.inf for c in callers.values())
            for caller in [c for c in callers.values() if c.until < now]:
                self._refuse(caller, callers, f"said nothing for {self._settings.handshake_timeout_s:g} s")
        for caller in callers.values():
            caller.sock.close()
        for sock in (self._sock, self._wake, self._woken):
            sock.close()
        self._selector.close()

    def _accept(self, callers: dict[socket.socket, Caller]) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:  # gone before we came, or out of descriptors: the next one may do better
            logger.warning("a caller could not be accepted: %s", error)
            time.sleep(0.01)
            return
        sock.setblocking(False)
        if len(callers) >= _MOST_PENDING:
            self._refuse(
                next(iter(callers.values())), callers, "waited longest while too many called at once"
            )
        until = time.monotonic() + self._settings.handshake_timeout_s
        self._hear(self._greet(sock, until, callers), callers)

    def _take_lines(self, callers: dict[socket.socket, Caller]) -> None:
        while self._lines:
            self._greet(self._lines.popleft(), math.inf, callers)

    def _greet(self, sock: Any, until: float, callers: dict[socket.socket, Caller]) -> Caller:
        machine = AcceptorV2(self._token, self._hello)
        machine.start()
        caller = callers[sock] = Caller(sock, machine, until)
        self._selector.register(sock, selectors.EVENT_READ)
        return caller

    def _hear(self, caller: Caller, callers: dict[socket.socket, Caller]) -> None:
        try:
            data = caller.sock.recv(16384)
            caller.until = min(caller.until, time.monotonic() + self._settings.handshake_timeout_s)
            if not data:
                raise caller.machine.end()
            answer = caller.machine.receive(data)
            if answer:
                caller.sock.sendall(answer)  # a few hundred bytes into an empty buffer: never blocks
        except BlockingIOError:
            return
        except (errors.AuthenticationError, errors.VersionMismatchError) as error:
            self._refuse(caller, callers, str(error), logging.WARNING)
            return
        except (OSError, errors.HandshakeError) as error:
            self._refuse(caller, callers, str(error))
            return
        if caller.machine.is_done:
            self._keep(caller, callers)

    def _keep(self, caller: Caller, callers: dict[socket.socket, Caller]) -> None:
        self._selector.unregister(caller.sock)
        del callers[caller.sock]
        hello = caller.machine.peer
        assert hello is not None
        connection = connect(caller.sock, hello, caller.machine.leftover, self._settings, dialed=False)
        with self._changed:
            self._arrived[hello.ticket] = connection
            self._changed.notify_all()

    def _refuse(
        self,
        caller: Caller,
        callers: dict[socket.socket, Caller],
        reason: str,
        level: int = logging.DEBUG,  # garbage and port scans are no news
    ) -> None:
        self._selector.unregister(caller.sock)
        del callers[caller.sock]
        try:
            who = "{}:{}".format(*caller.sock.getpeername()[:2])
            if caller.machine.refusal:
                caller.sock.send(caller.machine.refusal)
        except OSError:
            who = "a caller"  # it has gone already
        caller.sock.close()
        logger.log(level, "refused %s: %s", who, reason)


def connect(
    sock: Any, hello: control.Hello, leftover: bytes, settings: Settings, *, dialed: bool
) -> Connection:
    """A connection from a finished version 2 handshake."""
    reader = FrameReader(settings.frame_limit)
    reader.feed(leftover)
    peer = base.Peer(
        hello.name,
        2,
        hello.language,
        hello.language_version,
        hello.listen,
        hello.frame_limit,
        hello.keepalive_s,
        hello.node,
    )
    return Connection(sock, reader, peer, dialed)
