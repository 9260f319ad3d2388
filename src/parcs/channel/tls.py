"""TLS for the way to an engine server from outside its cluster.

The server's certificate is its own; what makes it trusted is its fingerprint, known beforehand. What the
connection is for goes along as ALPN (RFC 7301): a session with the engine, or a line for one relayed channel.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import select
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any, Final

from parcs import errors
from parcs.channel import sockets
from parcs.model.address import Address

ENGINE: Final = "parcs-engine"
LINE: Final = "parcs-line"
_RECORD: Final = 16384
_TOGETHER: Final = 256 * 1024
_NOW: Final = int(socket.MSG_DONTWAIT)  # an enum's operators are slow


class TlsSocket:
    """A TLS connection with the part of a socket's face that channels use.

    One thread may send while another receives: OpenSSL's object must not be used by both at once, so each takes it
    for a record at a time; neither waits while it has it.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, is_server: bool) -> None:
        """Takes ``sock`` over, and greets the other side within the time limit that it has.

        Raises:
            ssl.SSLError: the other side does not speak TLS as we do.
            OSError: the connection broke, or the time is over.
        """
        self._timeout = sock.gettimeout()
        # One way may end before the other, with or without TLS's goodbye: a channel has a goodbye of its own.
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        self._sock = context.wrap_socket(sock, server_side=is_server, do_handshake_on_connect=False)
        self._lock = threading.Lock()
        try:
            self._sock.do_handshake()
            self._sock.setblocking(False)
        except BaseException:
            self._sock.close()
            raise

    @property
    def purpose(self) -> str | None:
        """What both sides agreed the connection is for: `ENGINE` or `LINE`."""
        return self._sock.selected_alpn_protocol()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the other side's certificate, in hexadecimal."""
        return hashlib.sha256(self._sock.getpeercert(binary_form=True) or b"").hexdigest()

    def fileno(self) -> int:
        return self._sock.fileno()

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setblocking(self, is_blocking: bool) -> None:
        self._timeout = None if is_blocking else 0.0

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._sock.setsockopt(level, option, value)

    def getsockopt(self, *words: int) -> Any:
        return self._sock.getsockopt(*words)

    def getpeername(self) -> Any:
        return self._sock.getpeername()

    def recv_into(self, view: memoryview, count: int = 0, flags: int = 0) -> int:
        """As a socket's; waits at most a tick (BlockingIOError), or not at all with MSG_DONTWAIT.

        With room for less than a record (16 KiB) it may leave something in memory, which does not make the
        descriptor readable: who waits for that reads without waiting first.
        """
        wanted = view[:count] if count else view
        while True:
            try:
                return self._read(wanted)
            except BlockingIOError:
                if flags & _NOW or not self._wait(select.POLLIN):
                    raise

    def recv(self, count: int, flags: int = 0) -> bytes:
        """As a socket's."""
        buffer = bytearray(count)
        return bytes(buffer[: self.recv_into(memoryview(buffer), flags=flags)])

    def send(self, data: Any) -> int:
        """As a socket's; waits at most a tick. After a BlockingIOError the same data has to come again."""
        view = memoryview(data).cast("B")[:_TOGETHER]
        while True:
            try:
                return self._write(view)
            except BlockingIOError:
                if not self._wait(select.POLLOUT):
                    raise

    def sendmsg(self, parts: Sequence[Any]) -> int:
        """As a socket's: a small first part goes in one record with what follows it."""
        first = parts[0]
        if len(first) >= _RECORD or len(parts) == 1:
            return self.send(first)
        joined = bytearray()
        for part in parts:
            joined += memoryview(part)[: _RECORD - len(joined)]
            if len(joined) == _RECORD:
                break
        return self.send(joined)

    def sendall(self, data: Any) -> None:
        """As a socket's."""
        view = memoryview(data)
        while view:
            view = view[self.send(view) :]

    def shutdown(self, how: int) -> None:
        """As a socket's. TLS itself is left as it is: what was said before still has to be read."""
        socket.socket.shutdown(self._sock, how)  # its own forgets how to read what is there

    def close(self) -> None:
        self._sock.close()

    def _read(self, view: memoryview) -> int:
        """Bytes of the records that are there; 0 at the end.

        Raises:
            BlockingIOError: there is nothing yet.
        """
        filled = 0
        try:
            while filled < len(view):
                with self._lock:
                    count: Any = self._sock.read(len(view) - filled, view[filled:])
                filled += count
                if count < _RECORD:
                    break  # the last one, most likely; what comes after it makes the descriptor readable
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            if not filled:
                raise BlockingIOError from error
        except ssl.SSLError as error:
            if not filled:  # else the next read says so
                raise ConnectionResetError(f"TLS: {error.reason or error}") from error
        except ValueError as error:
            raise _closed() from error
        return filled

    def _write(self, view: memoryview) -> int:
        """Send as much as the system takes.

        Raises:
            BlockingIOError: it takes nothing yet.
        """
        sent = 0
        try:
            while sent < len(view):
                with self._lock:
                    sent += self._sock.write(view[sent : sent + _RECORD])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            if not sent:
                raise BlockingIOError from error
        except ssl.SSLError as error:
            raise ConnectionResetError(f"TLS: {error.reason or error}") from error
        except ValueError as error:
            raise _closed() from error
        return sent

    def _wait(self, event: int) -> bool:
        poller = select.poll()
        try:
            poller.register(self._sock.fileno(), event)
        except ValueError as error:
            raise _closed() from error
        timeout = sockets.TICK_S if self._timeout is None else self._timeout
        if poller.poll(timeout * 1000):
            return True
        if self._timeout:
            raise TimeoutError("timed out")
        return False


def _closed() -> OSError:
    """What a socket says that another thread has closed; `ssl` says it with a ValueError."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def dial(address: Address, fingerprint: str, purpose: str, timeout_s: float) -> TlsSocket:
    """Connect to an engine server from outside, and make sure that it is the right one.

    Args:
        fingerprint: SHA-256 of its certificate, in hexadecimal.
        purpose: `ENGINE` or `LINE`.

    Raises:
        ChannelBrokenError: nobody listens there.
        AuthenticationError: it is not the server with that certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # its fingerprint is compared instead, before anything is said
    context.set_alpn_protocols([purpose])
    try:
        plain = socket.create_connection((address.host, address.port), timeout=timeout_s)
    except OSError as error:
        raise errors.ChannelBrokenError(f"cannot reach {address}: {error}") from error
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = TlsSocket(plain, context, is_server=False)
    except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
        plain.close()  # Docker's proxy does so while no server is up behind it: worth another try
        raise errors.ChannelBrokenError(f"{address} closed the connection in the greeting") from error
    except ssl.SSLError as error:
        plain.close()
        raise errors.HandshakeError(
            f"{address} does not speak TLS as an engine server does: {error}"
        ) from error
    except OSError as error:
        plain.close()
        raise errors.ChannelBrokenError(f"cannot reach {address}: {error}") from error
    if not hmac.compare_digest(connection.fingerprint, fingerprint):
        connection.close()
        raise errors.AuthenticationError(
            f"the server at {address} shows another certificate than PARCS_CERTIFICATE says; ask again for the "
            "way to it: parcs engine access"
        )
    return connection
