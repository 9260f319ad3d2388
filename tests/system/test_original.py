"""Programs of the original PARCS, written here from its protocol's description, against ours."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from parcs.channel import Endpoint
from parcs.channel.endpoint import dial_original
from parcs.model.settings import Settings
from tests.conftest import Modules, wait_until

FACTOR = """
    from parcs.server import Service, serve

    class Factor(Service):
        def run(self):
            n, a, b = self.recv(), self.recv(), self.recv()
            facts = []
            for i in range(a, b):
                if n % i == 0:
                    facts.append(i)
            self.send(facts)

    serve(Factor())
"""


class Original:
    """One end as the original has it: three bytes of greeting, then length-prefixed JSON."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            assert chunk, "closed"
            data += chunk
        return data

    def send(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.sock.sendall(struct.pack(">Q", len(body)))
        self.sock.sendall(body)

    def recv(self) -> object:
        return json.loads(self.read(struct.unpack(">Q", self.read(8))[0]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def connect_when_up(port: int) -> socket.socket:
    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            return None

    sock: socket.socket = wait_until(attempt, "the service listens")
    return sock


def test_an_original_runner_drives_our_service(modules: Modules) -> None:
    modules.add("factor", FACTOR)
    port = free_port()
    environment = {**modules.environment, "PARCS_LISTEN": f"127.0.0.1:{port}"}
    import subprocess

    service = subprocess.Popen(
        [sys.executable, "factor/service.py"],
        cwd=modules.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with connect_when_up(port) as garbage:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")  # a port scan does not harm the one runner that follows
        assert garbage.recv(10) == b""
    with connect_when_up(port) as sock:
        runner = Original(sock)
        sock.sendall(b"SYN")
        assert runner.read(3) == b"ACK"
        for value in (30, 2, 30):
            runner.send(value)
        assert runner.recv() == [2, 3, 5, 6, 10, 15]
        assert sock.recv(1) == b""
    _, log = service.communicate(timeout=10)
    assert service.returncode == 0
    for line in (
        "Welcome to PARCS-Python!",
        "Client from 127.0.0.1 connected",
        "Running your program...",
        "Bye!",
    ):
        assert line in log


@contextmanager
def original_service() -> Iterator[str]:
    """A service of the original that sends back the sum of two numbers."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = server.accept()
        with sock:
            point = Original(sock)
            assert point.read(3) == b"SYN"
            sock.sendall(b"ACK")
            point.send(point.recv() + point.recv())  # type: ignore[operator]

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    thread.join(10)
    server.close()


def test_we_drive_an_original_service() -> None:
    endpoint = Endpoint("runner", b"", Settings())
    with original_service() as address:
        channel = dial_original(address, endpoint)
        channel.send_all(2, 40)
        assert channel.recv() == 42
        endpoint.close()
