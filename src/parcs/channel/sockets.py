"""Options and facts of TCP sockets.

Why not TCP_USER_TIMEOUT: it also ends a healthy connection whose peer computes and does not read (its
window stays shut, see tcp(7)), after the same few seconds. `silent_for` reads how long the peer's kernel
has acknowledged nothing although something is outstanding, which is true of a dead machine only.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from typing import Final

TICK_S: Final = 0.5

_TICK: Final = struct.pack("ll", 0, int(TICK_S * 1e6))
_TCP_INFO: Final = getattr(socket, "TCP_INFO", 11) if sys.platform == "linux" else None
_UNACKED, _LAST_ACK_RECEIVED = 24, 56
_PROBES = 3
_SIOCOUTQ: Final = 0x5411


def tune(sock: socket.socket) -> None:
    """Set a connected socket up for a channel: no Nagle, kernel probes, calls that return each tick."""
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    # The calls stay blocking (one system call a message) and come back with EAGAIN each tick.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TICK)


def silent_for(sock: socket.socket) -> float:
    """Seconds for which the peer's machine has owed us an acknowledgement; 0 if it owes none.

    Where the system cannot tell, 0: the kernel's own probes and the peer's keepalives remain.
    """
    if _TCP_INFO is None:
        return 0.0
    info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 104)
    if len(info) < _LAST_ACK_RECEIVED + 4:
        return 0.0
    unacked = struct.unpack_from("I", info, _UNACKED)[0]
    if not unacked and not info[_PROBES]:
        return 0.0
    milliseconds: int = struct.unpack_from("I", info, _LAST_ACK_RECEIVED)[0]
    return milliseconds / 1000


def unsent(sock: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged yet; 0 where the system cannot tell."""
    if _TCP_INFO is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
