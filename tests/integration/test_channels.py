"""Channels over real sockets: the contract, closing, dying, handing on."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy
import pytest

from parcs import errors, wait_any
from parcs.channel import Endpoint, memory, sockets
from parcs.channel.tcp import TcpChannel
from parcs.model.settings import Settings
from parcs.testing import check_channel
from parcs.testing.channel import LIMIT
from parcs.wire import control, header
from tests.conftest import SOURCE, wait_until

TOKEN = b"token"


class Net:
    """Programs that know each other, in this process."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []
        self._tickets = 0

    def program(self, name: str, **settings: Any) -> Endpoint:
        endpoint = Endpoint(name, TOKEN, Settings(**settings))
        self.endpoints.append(endpoint)
        return endpoint

    def connect(self, a: Endpoint, b: Endpoint) -> tuple[TcpChannel, TcpChannel]:
        """A channel: the end at ``a`` (which was dialled), and the end at ``b``."""
        self._tickets += 1
        ticket = f"ticket-{self._tickets}"
        at_b = b.dial(str(a.listener.address), "link", ticket, a.name)
        return a.adopt(a.listener.claim(ticket, 5), b.name, ticket), at_b

    def pair(self, **settings: Any) -> tuple[TcpChannel, TcpChannel]:
        return self.connect(self.program("a", **settings), self.program("b", **settings))

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.close()


@pytest.fixture
def net() -> Iterator[Net]:
    before = len(os.listdir("/proc/self/fd"))
    made = Net()
    yield made
    made.close()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "descriptors are closed")


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_tcp_channels_keep_the_contract(net: Net) -> None:
    check_channel(lambda: net.pair(frame_limit=LIMIT))


def test_memory_channels_keep_the_contract() -> None:
    check_channel(lambda: memory.pair(limit=LIMIT))


def test_an_array_goes_by_itself_and_inside_a_pickle(net: Net) -> None:
    a, b = net.pair()
    array = numpy.arange(1_000_000.0).reshape(1000, 1000)
    sender = in_thread(lambda: (a.send(array), a.send({"x": array.T}, codec="pickle")))
    got, inside = b.recv(10), b.recv(10)["x"]
    sender.join()
    assert numpy.array_equal(got, array) and numpy.array_equal(inside, array.T)
    with pytest.raises(errors.EncodeError, match=r"ndarray at \$\[0\]"):
        a.send([array])


def test_the_senders_limit_is_the_smaller_of_both(net: Net) -> None:
    a, b = net.connect(net.program("a", frame_limit=1 << 20), net.program("b", frame_limit=2000))
    with pytest.raises(errors.FrameTooLargeError, match="the limit is 2000"):
        a.send("x" * 3000)
    a.send("fits")
    assert b.recv(5) == "fits"


def raw_peer(net: Net, **settings: Any) -> tuple[TcpChannel, socket.socket]:
    """A channel whose other end is a bare socket that has greeted."""
    a, b = net.pair(**settings)
    connection = b.connection
    assert connection is not None
    sock = connection.sock.dup()
    b.connection = None
    b.leave(errors.ChannelClosedError("taken over by the test"))
    connection.sock.close()
    return a, sock


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (struct.pack(">Q", 1 << 55), errors.FrameTooLargeError),
        (b"\xff" * 8, errors.UnknownTagError),
        (b"\x00\x00", errors.TruncatedFrameError),
        (header.pack(0, 5) + b"[1", errors.TruncatedFrameError),
        (header.pack(2, 1 << 20) + bytes(500_000), errors.TruncatedFrameError),
        (b"", errors.ChannelBrokenError),
        (control.frame({"kind": "bye"}), errors.EndOfChannelError),
        (control.frame({"kind": "hello"}), errors.ProtocolError),
    ],
)
def test_a_bad_peer_ends_in_a_named_error_and_stays_so(
    net: Net, data: bytes, error: type[errors.ParcsError]
) -> None:
    channel, sock = raw_peer(net)
    sock.sendall(data)
    sock.close()
    for _ in range(3):
        with pytest.raises(error):
            channel.recv(5)


def test_a_frame_that_cannot_be_decoded_is_lost_alone(net: Net) -> None:
    channel, sock = raw_peer(net)
    sock.sendall(header.pack(0, 3) + b"{x}" + header.pack(0, 1) + b"7")
    with pytest.raises(errors.DecodeError):
        channel.recv(5)
    assert channel.recv(5) == 7
    sock.close()


def test_a_half_closed_peer_still_gets_what_is_sent(net: Net) -> None:
    channel, sock = raw_peer(net)
    sock.sendall(header.pack(0, 1) + b"1" + control.frame({"kind": "bye"}))
    sock.shutdown(socket.SHUT_WR)
    assert channel.recv(5) == 1
    with pytest.raises(errors.EndOfChannelError):
        channel.recv(5)
    sock.close()


def test_a_truncated_stream_is_noticed_within_a_tick_although_recv_has_no_timeout(net: Net) -> None:
    channel, sock = raw_peer(net)
    sock.sendall(header.pack(0, 100))
    threading.Timer(0.1, sock.close).start()
    begin = time.monotonic()
    with pytest.raises(errors.TruncatedFrameError):
        channel.recv()
    assert time.monotonic() - begin < 2


PEER = """
import sys
from parcs.channel import Endpoint
from parcs.model.settings import Settings
endpoint = Endpoint("peer", b"token", Settings(keepalive_s=1.0))
channel = endpoint.dial(sys.argv[1], "link", "peer", "tester")
channel.send("up")
channel.recv()
channel.recv()
"""


def peer_process(net: Net, **settings: Any) -> tuple[TcpChannel, subprocess.Popen[bytes]]:
    here = net.program("tester", **settings)
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, str(here.listener.address)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    channel = here.adopt(here.listener.claim("peer", 20), "peer", "peer")
    assert channel.recv(5) == "up"
    return channel, process


def test_a_killed_peer_is_noticed_at_once(net: Net) -> None:
    channel, process = peer_process(net)
    process.kill()
    process.wait()
    begin = time.monotonic()
    with pytest.raises(errors.ChannelBrokenError):
        channel.recv()
    assert time.monotonic() - begin < 1


def test_a_stopped_peer_is_noticed_by_its_silence(net: Net) -> None:
    channel, process = peer_process(net, silence_s=0.5)
    try:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(errors.PeerSilentError, match="no sign of life from peer"):
            channel.recv()
        with pytest.raises(errors.PeerSilentError):
            wait_any([channel], timeout=5)
            channel.recv(0)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def soon_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a tick waits calmly from then on, and wakes by itself only after a minute."""
    monkeypatch.setattr("parcs.channel.tcp._CALM_AFTER", 1)
    monkeypatch.setattr(sockets, "CALM_TICK_S", 60.0)


@pytest.mark.usefixtures("soon_calm")
def test_a_calm_receiver_is_woken_when_its_peer_is_lost(net: Net) -> None:
    channel, process = peer_process(net, silence_s=0.5)
    try:
        process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(errors.PeerSilentError, match="no sign of life from peer"):
            channel.recv()
        assert time.monotonic() - begin < 10
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("soon_calm")
def test_a_calm_receiver_gets_a_message_at_once_and_is_calm_no_more(net: Net) -> None:
    a, b = net.pair()
    got: list[Any] = []
    receiver = in_thread(lambda: got.append(a.recv()))
    wait_until(lambda: a.is_calm, "it waits calmly")
    b.send("at last")
    receiver.join(1)
    assert got == ["at last"]
    assert not a.is_calm
    assert a.connection is not None
    tick = struct.unpack("ll", a.connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
    assert tick == (0, 500_000)  # seconds and microseconds


def test_a_busy_peer_that_does_not_read_is_not_taken_for_dead(net: Net) -> None:
    """Longer than host_silence_s with its window shut: TCP_USER_TIMEOUT would have ended this."""
    channel, sock = raw_peer(net, host_silence_s=1.0, silence_s=30.0)
    size = 32 << 20
    sender = in_thread(lambda: channel.send(bytes(size)))
    wait_until(lambda: sockets.unsent(channel.connection.sock) > 1 << 16, "the window is shut")  # type: ignore[union-attr]
    time.sleep(2.5)  # the thing itself: nobody reads for longer than a machine may be silent
    assert sender.is_alive()
    left = header.SIZE + size
    while left:
        left -= len(sock.recv(min(left, 1 << 20)))
    sender.join(5)
    assert not sender.is_alive()
    sock.close()


def test_a_quiet_channel_stays_open_and_keepalives_do_not_pile_up(net: Net) -> None:
    a, b = net.pair(keepalive_s=0.1, silence_s=2.0)
    time.sleep(3.0)  # the thing itself: quiet for longer than a silent peer is given
    for channel in (a, b):
        assert channel.connection is not None
        assert channel.connection.reader.is_between_frames
    a.send("still there")
    assert b.recv(5) == "still there"


def test_what_was_sent_before_closing_arrives_at_a_slow_reader(net: Net) -> None:
    a, b = net.pair(keepalive_s=0.1)
    data = os.urandom(1 << 20) * 24

    def send_and_close() -> None:
        a.send(data)
        a.close()

    sender = in_thread(send_and_close)
    time.sleep(1.0)  # a keepalive of b's lies unread at a, which would make a plain close lose the rest
    assert b.recv(20) == data
    sender.join(10)
    with pytest.raises(errors.EndOfChannelError):
        b.recv(5)


def test_sending_to_a_finished_peer_says_so(net: Net) -> None:
    a, b = net.pair()
    b.close()
    with pytest.raises(errors.EndOfChannelError):
        for _ in range(1000):
            a.send("x" * 1000)


def test_an_exception_inside_send_tears_no_frame_unnoticed(net: Net) -> None:
    a, _ = net.pair()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            a.send(bytes(64 << 20))  # b does not read: it is interrupted half way
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(errors.ChannelBrokenError, match="cut off"):
        a.send("next")


def test_closing_wakes_a_thread_that_receives(net: Net) -> None:
    a, _ = net.pair()
    seen: list[BaseException] = []

    def receive() -> None:
        try:
            a.recv()
        except errors.ChannelClosedError as error:
            seen.append(error)

    receiver = in_thread(receive)
    wait_until(a.receive_lock.locked, "it receives")
    a.close()
    receiver.join(5)
    assert len(seen) == 1


# --- calls in ---------------------------------------------------------------------------------------


def test_a_silent_caller_delays_nobody_and_is_dropped(net: Net) -> None:
    a = net.program("a", handshake_timeout_s=0.5)
    with socket.create_connection(a.listener.address[:2]) as silent:
        b = net.program("b")
        begin = time.monotonic()
        at_a, at_b = net.connect(a, b)
        assert time.monotonic() - begin < 0.4
        at_b.send(1)
        assert at_a.recv(5) == 1
        silent.settimeout(5)
        assert silent.recv(1) == b""


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"SYN", b"\x00" * 100, b"\x16\x03\x01" + b"x" * 300]
)
def test_garbage_on_a_port_is_ignored_and_the_run_goes_on(net: Net, garbage: bytes) -> None:
    a, b = net.program("a"), net.program("b")
    with socket.create_connection(a.listener.address[:2]) as scanner:
        scanner.sendall(garbage)
        scanner.settimeout(5)
        assert scanner.recv(100) == b""
    at_a, at_b = net.connect(a, b)
    at_a.send("on")
    assert at_b.recv(5) == "on"


def test_a_caller_with_a_wrong_token_is_refused_and_logged(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    a = net.program("a")
    stranger = Endpoint("stranger", b"wrong", Settings())
    net.endpoints.append(stranger)
    with pytest.raises(errors.AuthenticationError):
        stranger.dial(str(a.listener.address), "link", "t", "a")
    wait_until(lambda: "refused" in caplog.text, "it is logged")
    assert "wrong" not in caplog.text


def test_dialling_nobody_and_something_else_is_an_error_in_words(net: Net) -> None:
    b = net.program("b", handshake_timeout_s=0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(errors.HandshakeError, match=r"did not greet within 0.3 s"):
            b.dial(address, "link", "t", "a")
    with pytest.raises(errors.ChannelBrokenError, match="cannot reach"):
        b.dial(address, "link", "t", "a")


def test_ten_thousand_connections_in_a_row_leave_nothing(net: Net) -> None:
    a = net.program("a")
    address = a.listener.address
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10_000):
        with socket.create_connection(address[:2]) as caller:
            if number % 3:
                caller.sendall(b"SYN" if number % 2 else b"PARC")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2, "every caller is forgotten")
    at_a, at_b = net.connect(a, net.program("b"))
    at_a.send("alive")
    assert at_b.recv(5) == "alive"


# --- several channels -------------------------------------------------------------------------------


def test_wait_any_returns_those_that_are_ready_in_order(net: Net) -> None:
    hub = net.program("hub")
    ends = [net.connect(hub, net.program(f"p{n}")) for n in range(3)]
    mine = [end[0] for end in ends]
    with pytest.raises(errors.ChannelTimeoutError):
        wait_any(mine, timeout=0.05)
    ends[2][1].send("c")
    assert wait_any(mine) == [mine[2]]
    ends[0][1].send("a")
    wait_until(mine[0].poll, "a is there")
    assert wait_any(mine) == [mine[0], mine[2]]
    ends[1][1].close()
    wait_until(mine[1].poll, "b is over")
    assert wait_any(mine) == mine


def test_wait_any_is_not_late_although_the_keeper_reads_too(net: Net) -> None:
    a, b = net.pair()
    slowest = 0.0
    stop = threading.Event()

    def echo() -> None:
        while not stop.is_set():
            try:
                b.send(b.recv(0.5))
            except TimeoutError:
                continue

    echoing = in_thread(echo)
    for number in range(3000):
        a.send(number)
        begin = time.monotonic()
        assert wait_any([a], timeout=5) == [a] and a.recv() == number
        slowest = max(slowest, time.monotonic() - begin)
    stop.set()
    echoing.join()
    assert slowest < 0.4


def test_an_end_is_handed_on_with_what_was_not_received_yet(net: Net) -> None:
    x, y, z = net.program("x"), net.program("y"), net.program("z")
    x_to_y, y_to_x = net.connect(x, y)
    x_to_z, z_to_x = net.connect(x, z)
    x_to_y.send("before")
    y_to_x.send_all(1, [2], b"three")
    wait_until(x_to_y.poll, "a backlog is there")
    x_to_z.send("first")
    x_to_z.send(x_to_y)
    x_to_z.send("last")
    with pytest.raises(errors.ChannelMovedError, match="handed on to z"):
        x_to_y.send(0)
    assert z_to_x.recv(5) == "first"
    z_to_y = z_to_x.recv(5)
    assert isinstance(z_to_y, TcpChannel) and z_to_y.name == "y"
    assert z_to_x.recv(5) == "last"
    assert [z_to_y.recv(5) for _ in range(3)] == [1, [2], b"three"]
    assert y_to_x.recv(5) == "before"
    z_to_y.send("from z")
    assert y_to_x.recv(5) == "from z"
    y_to_x.send("to z")
    assert z_to_y.recv(5) == "to z"


def test_an_end_can_be_handed_on_again_and_again(net: Net) -> None:
    programs = [net.program(f"p{n}") for n in range(5)]
    end, far = net.connect(programs[0], net.program("far"))
    for giver, taker in pairwise(programs):
        via, at_taker = net.connect(giver, taker)
        via.send(end)
        end = at_taker.recv(5)
        end.send(taker.name)
        assert far.recv(5) == taker.name
        far.send(giver.name)
        assert end.recv(5) == giver.name


def test_both_ends_can_be_handed_on_at_once(net: Net) -> None:
    x, y, z, w = (net.program(name) for name in "xyzw")
    x_to_y, y_to_x = net.connect(x, y)
    x_to_z, z_to_x = net.connect(x, z)
    y_to_w, w_to_y = net.connect(y, w)
    x_to_y.send("to w")
    y_to_x.send("to z")
    got: dict[str, Any] = {}
    threads = [
        in_thread(lambda: x_to_z.send(x_to_y)),
        in_thread(lambda: y_to_w.send(y_to_x)),
        in_thread(lambda: got.update(z=z_to_x.recv(20))),
        in_thread(lambda: got.update(w=w_to_y.recv(20))),
    ]
    for thread in threads:
        thread.join(25)
    assert got["z"].recv(5) == "to z" and got["w"].recv(5) == "to w"
    got["z"].send("hello w")
    assert got["w"].recv(5) == "hello w"
    got["w"].send("hello z")
    assert got["z"].recv(5) == "hello z"


def test_a_channel_cannot_be_sent_over_itself_nor_to_the_original(net: Net) -> None:
    a, b = net.pair()
    with pytest.raises(errors.EncodeError, match="handed on"):
        a.send(a)
    a.send(1)
    assert b.recv(5) == 1
