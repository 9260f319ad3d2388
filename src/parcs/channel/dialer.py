"""Calling out, in version 2 (a point calls its creator) and in version 1 (a creator calls a point)."""

from __future__ import annotations

import socket
import time
from typing import Any

from parcs import errors
from parcs.channel import base
from parcs.channel.listener import connect
from parcs.channel.tcp import Connection
from parcs.model.address import Address
from parcs.model.settings import Settings
from parcs.wire import control, header
from parcs.wire.handshake import AcceptorV1, DialerV1, DialerV2, Handshake, new_nonce
from parcs.wire.reader import FrameReader


def dial(
    address: Address,
    token: bytes,
    hello: control.Hello,
    settings: Settings,
    space: str = "",
    fingerprint: str = "",
) -> Connection:
    """Call a version 2 listener, as a program of the control space ``space``.

    Args:
        fingerprint: of the certificate, where the address is ``tls://``.

    Raises:
        ChannelBrokenError: nobody listens there.
        HandshakeError: whoever listens there is not what we called for.
    """
    sock: Any
    if address.scheme == "tls":
        from parcs.channel import tls  # and with it ssl, which points never need

        sock = tls.dial(address, fingerprint, tls.ENGINE, settings.connect_timeout_s)
    else:
        sock = _connect(address, settings)
    machine = DialerV2(token, hello, new_nonce(space))
    greet(sock, machine, settings, str(address))
    assert machine.peer is not None
    return connect(sock, machine.peer, machine.leftover, settings, dialed=True)


def dial_v1(address: Address, settings: Settings) -> Connection:
    """Call a point of the original PARCS, which listens (usually on port 4444).

    Raises:
        ChannelBrokenError: nobody listens there.
        HandshakeError: whoever listens there does not speak version 1.
    """
    sock = _connect(address, settings)
    return _version1(sock, DialerV1(), settings, str(address), dialed=True)


def accept_v1(server: socket.socket, settings: Settings) -> tuple[Connection, str]:
    """Wait for a runner of the original PARCS; returns its connection and its IP address.

    A caller that does not greet properly is dropped, and the next one is waited for.
    """
    while True:
        sock, address = server.accept()
        try:
            return _version1(sock, AcceptorV1(), settings, str(address[0]), dialed=False), str(address[0])
        except (errors.HandshakeError, OSError):
            sock.close()


def _version1(
    sock: socket.socket, machine: Handshake, settings: Settings, who: str, *, dialed: bool
) -> Connection:
    greet(sock, machine, settings, who)
    reader = FrameReader(settings.frame_limit, header.TAGS_V1)
    reader.feed(machine.leftover)
    return Connection(sock, reader, base.Peer(who, 1), dialed)


def _connect(address: Address, settings: Settings) -> socket.socket:
    try:
        sock = socket.create_connection((address.host, address.port), timeout=settings.connect_timeout_s)
    except OSError as error:
        raise errors.ChannelBrokenError(f"cannot reach {address}: {error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def greet(sock: socket.socket, machine: Handshake, settings: Settings, who: str) -> None:
    """Run a handshake to its end over a socket, within the time allowed; closes the socket if it fails.

    Raises:
        HandshakeError: the peer said something else, nothing, or left.
    """
    deadline = time.monotonic() + settings.handshake_timeout_s
    try:
        sock.setblocking(True)
        to_send = machine.start()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            if to_send:
                sock.sendall(to_send)
            if machine.is_done:
                return
            data = sock.recv(16384)
            if not data:
                raise machine.end()
            to_send = machine.receive(data)
    except TimeoutError:
        sock.close()
        raise errors.HandshakeError(
            f"{who} did not greet within {settings.handshake_timeout_s:g} s: is it a PARCS program?"
        ) from None
    except errors.HandshakeError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise errors.HandshakeError(f"{who} broke the connection off in mid-greeting: {error}") from error
