"""Options and facts of TCP sockets.

Why not TCP_USER_TIMEOUT: it also ends a healthy connection whose peer computes and does not read (its
window stays shut, see tcp(7)), after the same few seconds. The kernel of such a peer still answers every
retransmission and every window probe; that of a dead machine answers none. `silent_for` tells the two apart
from what TCP_INFO says (linux/tcp.h, struct tcp_info).
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import sys
import time
from typing import IO, Final

TICK_S: Final = 0.5
CALM_TICK_S: Final = 2.0
"""The tick of a call that has been waiting for long: hundreds of idle points share a processor with busy ones."""

_PROBE_S: Final = 1
_MOST_PROBES: Final = 127
_TCP_INFO: Final = getattr(socket, "TCP_INFO", 11) if sys.platform == "linux" else None
_RETRANSMITS, _PROBES, _LAST_DATA_SENT, _LAST_ACK_RECEIVED = 2, 3, 44, 56
_UNANSWERED: Final = 3
_ROUND_TRIP_MS: Final = 250
_SIOCOUTQ: Final = 0x5411


def tune(sock: socket.socket, host_silence_s: float) -> None:
    """Set a connected socket up for a channel: no Nagle, kernel probes, calls that return each tick.

    The kernel asks a quiet peer's each second: that wakes no process, so signs of life of the process itself can
    be rare. A peer that answers none for ``host_silence_s`` is lost, as `silent_for` says of one that owes
    acknowledgements.
    """
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    count = min(max(_UNANSWERED, int(host_silence_s / _PROBE_S) - 1), _MOST_PROBES)
    for option, value in (("TCP_KEEPIDLE", _PROBE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", count)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    # The calls stay blocking (one system call a message) and come back with EAGAIN each tick.
    set_receive_tick(sock, TICK_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(TICK_S))


def set_receive_tick(sock: socket.socket, tick_s: float) -> None:
    """How long a blocking call waits for something to come before it returns with EAGAIN."""
    with contextlib.suppress(OSError):  # another thread has closed it: the call says so itself
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(tick_s))


def wake(sock: socket.socket) -> None:
    """Have every call that is blocked on a socket return: nothing comes or goes through it any more."""
    with contextlib.suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


def address_towards(host: str, port: int) -> str:
    """This machine's own address on the way to another; nothing is sent.

    A name that is not known yet, or no way there, gives loopback: whoever dials meets the real error.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def is_readable(file: socket.socket | IO[bytes], timeout_s: float) -> bool:
    """Whether reading would not block, waiting at most ``timeout_s``. Any descriptor number will do."""
    return _is_ready(file, select.POLLIN, timeout_s)


def is_writable(sock: socket.socket) -> bool:
    """Whether writing a little would not block."""
    return _is_ready(sock, select.POLLOUT, 0)


def _is_ready(file: socket.socket | IO[bytes], event: int, timeout_s: float) -> bool:
    poller = select.poll()  # select() refuses descriptors over 1023, which hundreds of points reach
    poller.register(file, event)
    return bool(poller.poll(timeout_s * 1000))


def silent_for(sock: socket.socket) -> float:
    """Seconds for which the peer's machine has answered nothing, although it was asked; else 0.

    Asked means three retransmissions or probes, the last of them long enough ago for an answer.
    Where the system cannot tell, 0: the kernel's own probes and the peer's keepalives remain.
    """
    if _TCP_INFO is None:
        return 0.0
    info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 104)
    if len(info) < _LAST_ACK_RECEIVED + 4:
        return 0.0
    sent_ms: int = struct.unpack_from("I", info, _LAST_DATA_SENT)[0]
    answered_ms: int = struct.unpack_from("I", info, _LAST_ACK_RECEIVED)[0]
    is_data_unanswered = info[_RETRANSMITS] >= _UNANSWERED and answered_ms > sent_ms > _ROUND_TRIP_MS
    if is_data_unanswered or info[_PROBES] >= _UNANSWERED:
        return answered_ms / 1000
    return 0.0


def unsent(sock: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged yet; 0 where the system cannot tell."""
    if _TCP_INFO is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0


def settle(sock: socket.socket, patience_s: float) -> None:
    """Close a socket without losing what was sent.

    A close with unread bytes (a keepalive is enough) resets the connection and drops what the peer's
    kernel has not taken yet. So: read on until everything is acknowledged, for ``patience_s`` at most.
    """
    deadline = time.monotonic() + patience_s
    try:
        sock.shutdown(socket.SHUT_WR)
        pause = 0.001
        while unsent(sock) and time.monotonic() < deadline:
            if is_readable(sock, pause) and not sock.recv(65536, socket.MSG_DONTWAIT):
                time.sleep(pause)
            pause = min(2 * pause, 0.05)
        while sock.recv(65536, socket.MSG_DONTWAIT):
            pass
        sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that is in recv
    except OSError:
        pass  # reset, or nothing left to read: either way it can be closed
    sock.close()
