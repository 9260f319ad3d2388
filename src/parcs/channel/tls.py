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
_TOGETHER: Final = 256 * 1024
_NOW: Final = int(socket.MSG_DONTWAIT)  # an enum's operators are slow


class TlsSocket:
    """A TLS connection with the part of a socket's face that channels use.

    One thread may send while another receives: OpenSSL's object must not be used by both at once, so each takes it
    only to turn bytes into records or back. Records travel many at a time: one by one, as an `ssl.SSLSocket` sends
    and reads them, the system calls cost more than the ciphers.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, is_server: bool) -> None:
        """Takes ``sock`` over, and greets the other side within the time limit that it has.

        Raises:
            ssl.SSLError: the other side does not speak TLS as we do.
            OSError: the connection broke, or the time is over.
        """
        self._sock = sock
        self._timeout = sock.gettimeout()
        sock.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._lock = threading.Lock()
        self._read = memoryview(bytearray(_TOGETHER))
        self._is_ended = False
        self._unsent = memoryview(b"")
        self._taken = 0
        self._greet()

    @property
    def purpose(self) -> str | None:
        """What both sides agreed the connection is for: `ENGINE` or `LINE`."""
        return self._tls.selected_alpn_protocol()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the other side's certificate, in hexadecimal."""
        return hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").hexdigest()

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

        With room for less than 64 KiB it may leave something in memory, which does not make the descriptor
        readable: who waits for that reads without waiting first.
        """
        is_waiting = not flags & _NOW
        wanted = view[:count] if count else view
        while True:
            found = self._decrypt(wanted)
            if found or self._is_ended:
                return found
            try:
                self._take_in(len(wanted))
            except BlockingIOError:
                if not is_waiting or not self._wait(select.POLLIN):
                    raise

    def recv(self, count: int, flags: int = 0) -> bytes:
        """As a socket's."""
        buffer = bytearray(count)
        return bytes(buffer[: self.recv_into(memoryview(buffer), flags=flags)])

    def send(self, data: Any) -> int:
        """As a socket's; waits at most a tick. After a BlockingIOError the same data has to come again."""
        if not self._unsent:
            self._encrypt(memoryview(data).cast("B")[:_TOGETHER])
        while self._unsent:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT):
                    raise
        return self._taken

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
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()

    def _greet(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            except ssl.SSLError:
                self._flush()  # the reason, in TLS's own words
                raise
            self._flush()
            if is_done:
                return
            while True:
                try:
                    self._take_in(_RECORD)
                    break
                except BlockingIOError:
                    self._wait(select.POLLIN)
            if self._is_ended:
                raise ConnectionResetError("the other side went away in mid-greeting")

    def _flush(self) -> None:
        """Send what TLS itself has to say; a few kilobytes into an empty buffer."""
        if self._outgoing.pending:
            self._sock.send(self._outgoing.read())

    def _encrypt(self, view: memoryview) -> None:
        taken = 0
        try:
            with self._lock:
                while taken < len(view):
                    taken += self._tls.write(view[taken:])  # a record at a time
                self._unsent, self._taken = memoryview(self._outgoing.read()), taken
        except ssl.SSLError as error:
            raise ConnectionResetError(f"TLS: {error.reason or error}") from error

    def _decrypt(self, view: memoryview) -> int:
        """Bytes from the records that are there."""
        filled = 0
        try:
            with self._lock:
                while filled < len(view):
                    count: Any = self._tls.read(len(view) - filled, view[filled:])
                    if not count:
                        self._is_ended = True  # by TLS's own goodbye; a channel has its own
                        break
                    filled += count
        except ssl.SSLWantReadError:
            return filled
        except ssl.SSLError as error:
            raise ConnectionResetError(f"TLS: {error.reason or error}") from error
        return filled

    def _take_in(self, room: int) -> None:
        """Read records from the system: one, or what ``room`` bytes hold beside the one OpenSSL may have part of.

        Raises:
            BlockingIOError: there is nothing yet.
        """
        most = min(max(room - self._incoming.pending, 3 * _RECORD) - 2 * _RECORD, len(self._read))
        count = self._sock.recv_into(self._read[:most])
        if count:
            self._incoming.write(self._read[:count])
        else:
            self._is_ended = True  # OpenSSL is not told: it would shut the other way too

    def _wait(self, event: int) -> bool:
        poller = select.poll()
        poller.register(self._sock.fileno(), event)
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
    except OSError as error:
        raise errors.ChannelBrokenError(f"cannot reach {address}: {error}") from error
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = TlsSocket(plain, context, is_server=False)
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
