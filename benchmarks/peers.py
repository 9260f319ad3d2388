"""The processes at the other ends. Run as ``python -m benchmarks.peers ROLE PORT``.

Bare peers (`bare-...`) use blocking sockets and nothing else: the floor. The others use a channel of ours.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LENGTH = struct.Struct(">Q")


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """``size`` bytes from a socket."""
    data = sock.recv(size)
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def bare_send(sock: socket.socket, value: Any) -> None:
    """A value as length-prefixed JSON, in one write."""
    body = json.dumps(value).encode()
    sock.sendall(LENGTH.pack(len(body)) + body)


def bare_recv(sock: socket.socket) -> Any:
    """The other side of `bare_send`."""
    return json.loads(read_exactly(sock, LENGTH.unpack(read_exactly(sock, 8))[0]))


@contextmanager
def bare_peer(role: str) -> Iterator[socket.socket]:
    """A bare connection to a bare peer process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers", role, str(server.getsockname()[1])]
        )
        sock, _ = server.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        yield sock
    process.wait()


@contextmanager
def peer(role: str) -> Iterator[Any]:
    """A channel to a peer process."""
    from parcs.channel import Endpoint
    from parcs.model.settings import Settings

    endpoint = Endpoint("bench", b"bench", Settings())
    port = endpoint.listener.address.port
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.peers", role, str(port)])
    yield endpoint.adopt(endpoint.listener.claim("peer", 30.0), "peer", "peer")
    endpoint.close()
    process.wait()


def round_trips(count: int, value: Any, send: Callable[[Any], Any], recv: Callable[[], Any]) -> list[float]:
    """Microseconds of ``count`` round trips, one after the other."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        send(value)
        recv()
        times.append((time.perf_counter() - begin) * 1e6)
    return times


def _bare(role: str, sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if role == "bare-echo":
        while True:
            bare_send(sock, bare_recv(sock))
    elif role == "bare-sink":  # takes n bodies of `size` bytes, answers when all are there
        size, count = LENGTH.unpack(read_exactly(sock, 8))[0], LENGTH.unpack(read_exactly(sock, 8))[0]
        buffer = memoryview(bytearray(size))
        for _ in range(count):
            filled = 0
            while filled < size:
                filled += sock.recv_into(buffer[filled:])
        sock.sendall(b"x")
    elif role == "bare-count":
        count = LENGTH.unpack(read_exactly(sock, 8))[0]
        file = sock.makefile("rb", buffering=65536)
        for _ in range(count):
            json.loads(file.read(LENGTH.unpack(file.read(8))[0]))
        sock.sendall(b"x")


def _ours(role: str, port: str) -> None:
    from parcs import errors
    from parcs.channel import Endpoint
    from parcs.model.settings import Settings

    endpoint = Endpoint("peer", b"bench", Settings())
    channel = endpoint.dial(f"tcp://127.0.0.1:{port}", "link", "peer", "bench")
    try:
        if role == "echo":
            while True:
                channel.send(channel.recv())
        elif role == "sink":
            import numpy  # its import is no part of a transfer

            channel.send("ready")
            for _ in range(channel.recv()):
                channel.recv()
            channel.send("x")
        elif role == "memory":  # how much one message adds to this process's peak, in bytes
            import numpy  # noqa: F401  # part of the base, not of the message

            channel.send(0)
            before = _now()
            channel.recv()
            channel.send(_peak() - before)
    except errors.EndOfChannelError:
        pass
    endpoint.close()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _now() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    role, port = sys.argv[1:]
    if role.startswith("bare-"):
        try:
            with socket.create_connection(("127.0.0.1", int(port))) as sock:
                _bare(role, sock)
        except (EOFError, ConnectionError):
            os._exit(0)
    else:
        _ours(role, port)


if __name__ == "__main__":
    main()
