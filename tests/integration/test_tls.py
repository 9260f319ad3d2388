"""TLS as channels use it: how a connection begins and ends, whatever the other side does. On socket pairs."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from parcs import errors
from parcs.channel import tls
from parcs.channel.tls import TlsSocket
from parcs.model.address import Address
from parcs.swarm.__main__ import tls_context
from parcs.swarm.deploy import new_certificate

pytest.importorskip("docker")


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def greeting(sock: socket.socket, context: ssl.SSLContext) -> Future[TlsSocket]:
    """The server's side, on a thread."""
    made: Future[TlsSocket] = Future()

    def run() -> None:
        try:
            made.set_result(TlsSocket(sock, context, is_server=True))
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=run).start()
    return made


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    return tls_context(*new_certificate()[:2])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    for end in ends:
        end.settimeout(2.0)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def ends(
    pair: tuple[socket.socket, socket.socket], context: ssl.SSLContext
) -> Iterator[tuple[TlsSocket, TlsSocket]]:
    """A server's end and a client's, greeted."""
    made = greeting(pair[0], context)
    client = TlsSocket(pair[1], client_context(), is_server=False)
    server = made.result(5)
    yield server, client
    client.close()
    server.close()


def read(sock: TlsSocket) -> int:
    return sock.recv_into(memoryview(bytearray(100)))


def test_an_end_without_a_goodbye_is_an_end(ends: tuple[TlsSocket, TlsSocket]) -> None:
    server, other = ends
    other.sendall(b"abc")
    assert read(server) == 3
    other.shutdown(socket.SHUT_WR)
    assert [read(server), read(server)] == [0, 0]
    server.sendall(b"still")  # the other way is open
    assert read(other) == 5


def test_an_end_with_a_goodbye_is_an_end(
    pair: tuple[socket.socket, socket.socket], context: ssl.SSLContext
) -> None:
    made = greeting(pair[0], context)
    with client_context().wrap_socket(pair[1]) as other:
        server = made.result(5)
        other.sendall(b"abc")
        assert read(server) == 3
        other.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            other.unwrap()
        assert [read(server), read(server)] == [0, 0]
        server.close()


@pytest.mark.parametrize("said", [b"", b"hello, this is no TLS at all", b"\x16\x03\x01\x02\x00\x01"])
def test_no_greeting_of_tls_is_refused(
    said: bytes, pair: tuple[socket.socket, socket.socket], context: ssl.SSLContext
) -> None:
    made = greeting(pair[0], context)
    pair[1].sendall(said)
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(OSError):  # ssl.SSLError is one
        made.result(5)


def test_a_proxy_with_nobody_behind_it_is_no_server() -> None:
    """Docker's listens before the container does: it takes a connection, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        threading.Thread(target=lambda: proxy.accept()[0].close()).start()
        with pytest.raises(errors.ChannelBrokenError):  # which is tried again; a wrong server is not
            tls.dial(Address("127.0.0.1", proxy.getsockname()[1], "tls"), "", tls.ENGINE, 2.0)


def test_who_says_nothing_is_given_up(
    pair: tuple[socket.socket, socket.socket], context: ssl.SSLContext
) -> None:
    pair[0].settimeout(0.2)
    with pytest.raises(TimeoutError):
        greeting(pair[0], context).result(5)


def test_waiting_costs_no_processor_time(ends: tuple[TlsSocket, TlsSocket]) -> None:
    server, _ = ends
    server.settimeout(0.6)
    begin = time.thread_time()
    with pytest.raises(TimeoutError):
        read(server)
    assert time.thread_time() - begin < 0.1


def test_what_another_thread_has_closed_is_closed(ends: tuple[TlsSocket, TlsSocket]) -> None:
    server, _ = ends
    server.settimeout(None)
    found: list[BaseException] = []

    def wait() -> None:
        try:
            while True:
                try:
                    read(server)
                except BlockingIOError:
                    continue  # a tick
        except BaseException as error:
            found.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    server.close()
    waiting.join(5)
    assert [type(error) for error in found] == [OSError]
    with pytest.raises(OSError, match="Bad file descriptor"):
        server.sendall(b"x")
