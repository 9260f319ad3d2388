"""TLS for the way to an engine server from outside its cluster.

The server's certificate is its own; what makes it trusted is its fingerprint, known beforehand. What the
connection is for goes along as ALPN (RFC 7301): a session with the engine, or a line for one relayed channel.
"""

from __future__ import annotations

import hashlib
import hmac
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
_NOW: Final = int(socket.MSG_DONTWAIT)  # an enum's operators are slow


class TlsSocket:
    """A TLS connection with the part of a socket's face that channels use.

    One thread may send while another receives: OpenSSL's object must not be used by both at once, so each
    takes it only for calls that do not block.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        self._tls = connection
        self._lock = threading.Lock()
        self._timeout: float | None = None

    def fileno(self) -> int:
        return self._tls.fileno()

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setblocking(self, is_blocking: bool) -> None:
        self._timeout = None if is_blocking else 0.0

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._tls.setsockopt(level, option, value)

    def getsockopt(self, *words: int) -> Any:
        return self._tls.getsockopt(*words)

    def getpeername(self) -> Any:
        return self._tls.getpeername()

    def recv_into(self, view: memoryview, count: int = 0, flags: int = 0) -> int:
        """As a socket's; waits at most a tick (BlockingIOError), or not at all with MSG_DONTWAIT."""
        is_waiting = not flags & _NOW
        while True:
            # Reading what is not there costs an exception: look first, unless it is to be taken in passing.
            if is_waiting and not self._tls.pending() and not self._wait(select.POLLIN):
                raise BlockingIOError
            try:
                with self._lock:
                    return self._tls.recv_into(view, count or None)
            except ssl.SSLWantReadError:
                if not is_waiting:
                    raise BlockingIOError from None
            except ssl.SSLError as error:
                raise ConnectionResetError(f"TLS: {error.reason or error}") from error

    def recv(self, count: int, flags: int = 0) -> bytes:
        """As a socket's."""
        buffer = bytearray(count)
        return bytes(buffer[: self.recv_into(memoryview(buffer), flags=flags)])

    def send(self, data: Any) -> int:
        """As a socket's; waits at most a tick (BlockingIOError)."""
        view, done = memoryview(data).cast("B"), 0
        while done < len(view):
            try:
                with self._lock:
                    done += self._tls.send(view[done:])  # a record at a time
            except ssl.SSLWantWriteError:
                if done:
                    break
                if not self._wait(select.POLLOUT):
                    raise BlockingIOError from None
            except ssl.SSLError as error:
                raise ConnectionResetError(f"TLS: {error.reason or error}") from error
        return done

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
        socket.socket.shutdown(self._tls, how)

    def close(self) -> None:
        self._tls.close()

    def _wait(self, event: int) -> bool:
        poller = select.poll()
        poller.register(self._tls.fileno(), event)
        timeout = sockets.TICK_S if self._timeout is None else self._timeout
        if poller.poll(timeout * 1000):
            return True
        if self._timeout:
            raise TimeoutError("timed out")
        return False


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
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(plain)
    except ssl.SSLError as error:
        raise errors.HandshakeError(
            f"{address} does not speak TLS as an engine server does: {error}"
        ) from error
    except OSError as error:
        raise errors.ChannelBrokenError(f"cannot reach {address}: {error}") from error
    seen = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(seen, fingerprint):
        connection.close()
        raise errors.AuthenticationError(
            f"the server at {address} shows another certificate than PARCS_CERTIFICATE says; ask again for the "
            "way to it: parcs engine access"
        )
    return TlsSocket(connection)
