"""The relay between a program outside and points inside, on loopback: TLS, lines, tokens, garbage."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from parcs import errors
from parcs.channel import Endpoint, tls
from parcs.channel.lines import Lines
from parcs.engine.server import EngineServer, OneJob
from parcs.engine.space import ControlSpace
from parcs.model.address import Address
from parcs.model.settings import Settings
from parcs.swarm.__main__ import tls_context
from parcs.swarm.deploy import new_certificate
from parcs.swarm.relay import Relay
from tests.conftest import wait_until

pytest.importorskip("docker")

SPACE = "00112233aabbccdd"
TOKEN = b"the job's token"
HERE = ("127.0.0.1", 0)


class Nothing:
    """A backend that is never asked for anything."""

    def attach(self, server: EngineServer) -> None: ...
    def tick(self) -> None: ...
    def close(self) -> None: ...
    def on_gone(self, session: object) -> None: ...


def token_of(space: bytes) -> bytes:
    if space.hex() != SPACE:
        raise errors.AuthenticationError("there is no such job")
    return TOKEN


class Outside:
    """A relay, and a program outside that has lines to it."""

    def __init__(self) -> None:
        settings = Settings(handshake_timeout_s=1.0)
        certificate, private_key, self.fingerprint = new_certificate()
        self.engine = EngineServer(OneJob(TOKEN, ControlSpace(SPACE)), Nothing(), settings)  # type: ignore[arg-type]
        self.relay = Relay(
            token_of, tls_context(certificate, private_key), HERE, HERE, self.engine.address[:2], settings
        )
        self.address = Address("127.0.0.1", self.relay.outside_port, "tls")
        self.program = self.endpoint("runner")
        self.lines = Lines(self.program, self.address, self.fingerprint)
        self.inside = f"tcp://127.0.0.1:{self.relay.inside_port}"

    def endpoint(self, name: str, token: bytes = TOKEN, space: str = SPACE) -> Endpoint:
        made = Endpoint(name, token, Settings(handshake_timeout_s=2.0), space=space)
        made.fingerprint = self.fingerprint
        return made


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.program.close()
    made.relay.close()
    made.engine.close()
    wait_until(lambda: made.relay.statistics()["connections"] == 0, "every relayed connection is over")


def test_a_point_and_a_program_outside_talk_as_if_directly(outside: Outside) -> None:
    outside.lines.have(1)
    point = outside.endpoint("p-1")
    inner = point.dial(outside.inside, "point", "p-1", "creator")
    outer = outside.program.adopt(outside.program.listener.claim("p-1", 5.0), "p-1", "p-1")
    for value in (None, {"a": [1, 2]}, b"raw", "x" * 100_000):
        outer.send(value)
        assert inner.recv(timeout=5) == value
        inner.send(value)
        assert outer.recv(timeout=5) == value
    big = os.urandom(1 << 20) * 48  # both ways at once, more than any buffer holds
    threads = [threading.Thread(target=end.send, args=(big,)) for end in (inner, outer)]
    for thread in threads:
        thread.start()
    got: list[object] = []
    receivers = [threading.Thread(target=lambda e=end: got.append(e.recv(30))) for end in (inner, outer)]  # type: ignore[misc]
    for thread in receivers:
        thread.start()
    for thread in [*threads, *receivers]:
        thread.join(30)
    assert got == [big, big]
    inner.close()
    with pytest.raises(errors.EndOfChannelError):
        outer.recv(timeout=5)
    point.close()


class Dribble:
    """A bad line to a relay: bytes come in small pieces, cut anywhere."""

    def __init__(self, target: Address) -> None:
        self._server = socket.create_server(HERE)
        self.address = Address("127.0.0.1", self._server.getsockname()[1], "tls")
        self._target = target
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._server:
            one, _ = self._server.accept()
            with one, socket.create_connection(self._target[:2]) as other:
                pumps = [
                    threading.Thread(target=self._pass_on, args=way) for way in ((one, other), (other, one))
                ]
                for pump in pumps:
                    pump.start()
                for pump in pumps:
                    pump.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        choice = random.Random(1)
        try:
            while data := source.recv(choice.choice((1, 7, 100, 5000))):
                sink.sendall(data)
                time.sleep(0.0005)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()  # the other way's end is this one's

    def join(self) -> None:
        self._thread.join(5.0)


def test_records_may_come_in_pieces(outside: Outside) -> None:
    line = Dribble(outside.address)
    Lines(outside.program, line.address, outside.fingerprint).have(1)
    point = outside.endpoint("p-1")
    inner = point.dial(outside.inside, "point", "p-1", "creator")
    outer = outside.program.adopt(outside.program.listener.claim("p-1", 5.0), "p-1", "p-1")
    for value in ([1, 2], os.urandom(3000), {"text": "y" * 60_000}, os.urandom(200_000), "the end"):
        outer.send(value)
        assert inner.recv(timeout=20) == value
        inner.send(value)
        assert outer.recv(timeout=20) == value
    point.close()
    outer.close()
    line.join()


def test_what_comes_together_is_received_one_by_one_without_waiting(outside: Outside) -> None:
    outside.lines.have(1)
    point = outside.endpoint("p-1")
    inner = point.dial(outside.inside, "point", "p-1", "creator")
    outer = outside.program.adopt(outside.program.listener.claim("p-1", 5.0), "p-1", "p-1")
    for size in (70_000, 1, 100_000, 200_000, 2, 3):
        inner.send(
            bytes(size)
        )  # the relay joins them: records hold the end of one and the beginning of the next
    begin = time.monotonic()
    assert [len(outer.recv(timeout=5)) for _ in range(6)] == [70_000, 1, 100_000, 200_000, 2, 3]
    assert time.monotonic() - begin < 0.5
    point.close()


def test_nothing_stays_in_the_relay(outside: Outside) -> None:
    """Without signs of life nothing but the messages themselves moves the relay."""
    outside.lines.have(1)
    quiet = Settings(keepalive_s=0)
    outside.program.settings = quiet
    point = Endpoint("p-1", TOKEN, quiet, space=SPACE)
    inner = point.dial(outside.inside, "point", "p-1", "creator")
    outer = outside.program.adopt(outside.program.listener.claim("p-1", 5.0), "p-1", "p-1")
    choice = random.Random(2)
    for _ in range(30):
        size = choice.randrange(1, 6 << 20)
        for sender, receiver in ((outer, inner), (inner, outer)):
            thread = threading.Thread(target=sender.send, args=(bytes(size),))
            thread.start()
            assert len(receiver.recv(timeout=10)) == size
            thread.join()
    point.close()


def test_a_session_with_the_engine_goes_through_tls(outside: Outside) -> None:
    channel = outside.program.dial(str(outside.address), "engine", "", "engine")
    channel.send({"id": 1, "do": "status"})
    assert channel.recv(timeout=5) == {"id": 1, "ok": {"points": []}}


def test_many_lines_find_their_points(outside: Outside) -> None:
    outside.lines.have(20)
    wait_until(lambda: outside.program.listener.idle_lines == 20, "20 lines wait")
    points = [outside.endpoint(f"p-{i}") for i in range(20)]
    for i, point in enumerate(points):
        point.dial(outside.inside, "point", f"p-{i}", "creator").send(i)
    claim = outside.program.listener.claim
    ends = [outside.program.adopt(claim(f"p-{i}", 5.0), f"p-{i}", f"p-{i}") for i in range(20)]
    assert [end.recv(timeout=5) for end in ends] == list(range(20))
    outside.lines.have(3)
    wait_until(lambda: outside.program.listener.idle_lines == 3, "3 more wait")
    for point in points:
        point.close()


def test_the_wrong_certificate_or_token_is_refused(outside: Outside) -> None:
    with pytest.raises(errors.AuthenticationError, match="another certificate"):
        tls.dial(outside.address, "0" * 64, tls.LINE, 5.0)
    stranger = outside.endpoint("stranger", token=b"wrong")
    with pytest.raises(errors.AuthenticationError):
        Lines(stranger, outside.address, outside.fingerprint).have(1)
    lost = outside.endpoint("lost", space="99" * 8)
    with pytest.raises(errors.HandshakeError):
        Lines(lost, outside.address, outside.fingerprint).have(1)
    lost.close()
    outside.lines.have(1)
    with pytest.raises(errors.AuthenticationError):  # the program outside checks it, not the relay
        stranger.dial(outside.inside, "point", "p-1", "creator")
    stranger.close()


def test_garbage_harms_nobody(outside: Outside) -> None:
    for port in (outside.relay.outside_port, outside.relay.inside_port):
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"PARCS\x002\n"):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(data)
    with socket.create_connection(("127.0.0.1", outside.relay.inside_port)):  # says nothing at all
        outside.lines.have(1)
        point = outside.endpoint("p-1")
        point.dial(outside.inside, "point", "p-1", "creator").send("still here")
        outer = outside.program.adopt(outside.program.listener.claim("p-1", 5.0), "p-1", "p-1")
        assert outer.recv(timeout=5) == "still here"
        point.close()
