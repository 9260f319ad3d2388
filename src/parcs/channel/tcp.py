"""A channel over one TCP connection.

The thread that calls `recv` reads the socket itself, and the one that calls `send` writes it: no thread
stands between a message and its user, which is what keeps a round trip near that of bare sockets. What
has to happen while nobody calls is done by the keeper (keeper.py) through `beat`.

A blocked call wakes each half second (sockets.TICK_S; one that has waited for some seconds, every other second) to
look at three things: whether the peer's machine and process are alive, and whether everybody waits for everybody
(waiting.py).

Who waits on the sockets of several channels (wait_any, a pool) counts itself in ``watchers`` first: then the
keeper reads nothing ahead, which would leave a message here and its socket silent.

Lock order: receive, then send. `home` is this program's endpoint (endpoint.py).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from typing import Any, Final, NamedTuple, Protocol

from parcs import errors
from parcs.channel import base, handover, sockets, waiting
from parcs.model.settings import Settings
from parcs.wire import codecs, control, header
from parcs.wire.reader import Frame, FrameReader

_JOIN_UP_TO: Final = 64 * 1024
_READ_AHEAD: Final = 1 << 20
_AHEAD_FRAMES: Final = 4096
_BEAT_TAKES_S: Final = 0.02
_CALM_AFTER: Final = 6
"""Ticks without a message, after which `recv` wakes more rarely."""
_BRISK_S: Final = 0.0005
"""An answer that took less than this: the next one is looked for again and again before `recv` sleeps."""
_AGAIN_S: Final = 0.0002
"""How long it is looked for: to sleep and be woken costs as much, on another processor more."""


class Connection(NamedTuple):
    """A greeted socket (or TlsSocket): nothing is left of the handshake but who is there."""

    sock: socket.socket
    reader: FrameReader
    peer: base.Peer
    dialed: bool


class Home(Protocol):
    """What a channel needs of the program it belongs to."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def waits(self) -> waiting.WaitBoard: ...
    @property
    def ledger(self) -> waiting.Ledger: ...
    def on_attach(self, parent: TcpChannel, message: dict[str, Any]) -> None: ...
    def claim_link(self, ticket: str) -> Connection: ...
    def open_link(self, address: str, ticket: str, name: str) -> TcpChannel: ...
    def forget(self, channel: TcpChannel) -> None: ...


class TcpChannel(base.Channel):
    """One end. Made by an `Endpoint`, which also keeps it alive."""

    def __init__(self, connection: Connection, name: str, identity: str, home: Home) -> None:
        self.name = name
        self.identity = identity
        self.codec = "json"
        self.home = home
        self.connection: Connection | None = connection
        self.peer = connection.peer
        self.pending_ticket = ""
        self.is_moving = False
        self.receive_lock = threading.Lock()
        self.send_lock = threading.Lock()
        self.inbox: deque[Frame] = deque()
        self.watchers = 0
        self._inbox_bytes = 0
        self._failure: errors.ParcsError | None = None
        self._peer_said_bye = False
        self._closing = threading.Lock()
        self._heard = self._spoke = time.monotonic()
        self.sent = self.received = self._bytes_sent = self._bytes_received = 0
        self._waited_s = 0.0
        self._is_brisk = False
        self._empty_ticks = 0
        sockets.tune(connection.sock, home.settings.host_silence_s)

    # --- sending ---------------------------------------------------------------------------------

    def send(self, value: Any, codec: str | None = None) -> None:
        if isinstance(value, base.Carrier):
            handover.hand_on(value.channel, self)
            return
        try:
            encoded = codecs.encode(value, codecs.choose(value, codec or self.codec, named=codec is not None))
        except errors.EncodeError:
            if codec is not None or not codecs.is_array(value):
                raise
            encoded = codecs.encode_pickle(value)
        if encoded.tag != header.JSON:
            self._check_peer_takes(encoded.tag, value)
        self.transmit(encoded)

    def transmit(self, encoded: codecs.Encoded) -> None:
        """Send one encoded message."""
        limit = min(self.home.settings.frame_limit, self.peer.frame_limit)
        if encoded.size > limit:
            raise errors.FrameTooLargeError(encoded.size, limit, sending=True)
        ledger = self.home.ledger
        begin = time.time() if ledger.is_tracing else 0.0
        with self.send_lock:
            self._write([header.pack(encoded.tag, encoded.size), *encoded.parts], header.SIZE + encoded.size)
            self.sent += 1
            self._bytes_sent += encoded.size
            number = self.sent
        if begin:
            ledger.add_event("send", self, number, encoded.size, begin)

    def transmit_control(self, message: dict[str, Any], backlog: list[Frame] | None = None) -> None:
        """Send a control message, and frames as they were received right behind it."""
        parts: list[codecs.Part] = [control.frame(message)]
        for frame in backlog or []:
            parts += [header.pack(frame.tag, len(frame.body)), frame.body]
        with self.send_lock:
            self._write(parts, sum(len(part) for part in parts))

    def _write(self, parts: list[codecs.Part], total: int) -> None:
        """Write all of ``parts``; called with the send lock held."""
        sock = self._socket()
        self._spoke = time.monotonic()
        done = 0
        ticked = False
        try:
            if total <= _JOIN_UP_TO:
                parts = [b"".join(parts)]
            while True:
                try:
                    done += sock.send(parts[0]) if len(parts) == 1 else sock.sendmsg(parts[:64])
                except BlockingIOError:
                    ticked = True
                    self._look_around(sock, sending=True)
                    continue
                if done == total:
                    return
                parts = _after(parts, done, total)
        except BaseException as error:
            if isinstance(error, OSError):
                self._hear_last_words()
                raise self._lost(error) from error
            # A signal's exception may come between the system call and the count of what it took.
            if done or not isinstance(error, errors.ParcsError):
                self._fail(errors.ChannelBrokenError(f"a message to {self.name} was cut off by {error!r}"))
            raise
        finally:
            if ticked:
                self.home.waits.end()

    def _hear_last_words(self) -> None:
        """Sending failed: what the peer said before it went may still be there to read."""
        if self.receive_lock.acquire(blocking=False):
            try:
                self._read_ahead()
            finally:
                self.receive_lock.release()

    def _check_peer_takes(self, tag: int, value: Any) -> None:
        if self.peer.version == 1:
            reason = "the peer speaks version 1, which carries JSON only"
        elif tag == header.PICKLE and self.peer.language != "python":
            reason = (
                f"the peer is written in {self.peer.language or 'another language'}; use json, msgpack or raw"
            )
        else:
            return
        raise errors.EncodeError(header.NAMES[tag], "$", type(value).__qualname__, reason)

    # --- receiving -------------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.receive_lock.acquire(timeout=-1 if timeout is None else timeout):
            raise self._timed_out(timeout)
        ticked = False
        begin = time.time() if self.home.ledger.is_tracing else 0.0
        try:
            while True:
                frame = self._next_frame()
                if frame is None:
                    if not self._fill(deadline, timeout):
                        ticked = True
                    continue
                if frame.tag == header.CONTROL:
                    return handover.take_over(self, control.parse(frame.body))
                return self._value(frame, begin)
        except errors.ChannelError:
            if ticked:
                self.home.waits.check_verdict()
            raise
        finally:
            if ticked:
                self._end_calm()
            self.receive_lock.release()
            if ticked:
                self.home.waits.end()

    def next_raw(self, timeout: float) -> Frame | None:
        """The next frame that is a user's, undecoded; None if the peer's end was handed on meanwhile.

        Called with the receive lock held.
        """
        deadline = time.monotonic() + timeout
        while True:
            frame = self._next_frame()
            if frame is not None or self.connection is None:
                return frame
            self._fill(deadline, timeout)

    def inherit(self, backlog: list[Frame]) -> None:
        """Begin with what the previous holder of this end had not received."""
        self.inbox.extendleft(reversed(backlog))
        self._inbox_bytes += sum(len(frame.body) for frame in backlog)

    def poll(self) -> bool:
        if not self.receive_lock.acquire(timeout=_BEAT_TAKES_S):
            return False  # another thread is in recv, and will get what comes
        try:
            self._read_ahead()
            return bool(self.inbox or self._failure or self._peer_said_bye)
        finally:
            self.receive_lock.release()

    def _value(self, frame: Frame, begin: float) -> Any:
        size = len(frame.body)
        self.received += 1
        self._bytes_received += size
        if begin:
            self.home.ledger.add_event("recv", self, self.received, size, begin)
        if frame.tag == header.ERROR:
            raise control.parse_error(frame.body, self.name)
        return codecs.decode(frame.tag, frame.body)

    def _next_frame(self) -> Frame | None:
        """The next frame for the user, from what has already been read."""
        if self.inbox:
            frame = self.inbox.popleft()
            self._inbox_bytes -= len(frame.body)
            return frame
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        while self.connection is not None:
            try:
                fresh = self.connection.reader.next_frame()
            except errors.ProtocolError as error:
                raise self._fail(error) from None
            if fresh is None or self._is_users(fresh):
                return fresh
        return None

    def _is_users(self, frame: Frame) -> bool:
        """Whether a frame is for the user; what is for the channel itself is done here and now."""
        if frame.tag == header.KEEPALIVE:
            return False
        if frame.tag != header.CONTROL:
            return True
        message = control.parse(frame.body)
        kind = message["kind"]
        if kind in ("channel", "moved"):
            return True
        if kind == "bye":
            self._peer_said_bye = True
        elif kind == "attach":
            self.home.on_attach(self, message)
        elif kind == "moving":
            handover.follow(self, str(message.get("ticket")))
        else:
            raise self._fail(errors.ProtocolError(f"{self.name} sent {kind!r} in mid-channel"))
        return False

    def _fill(self, deadline: float | None, timeout: float | None) -> bool:
        """Read once, waiting at most a tick. False if nothing came in this tick."""
        sock = self._socket()
        assert self.connection is not None
        reader = self.connection.reader
        view = reader.buffer()
        begin = time.monotonic()
        count = -1
        try:
            # A stream needs the processor for itself.
            is_brisk = self._is_brisk and not reader.is_in_large_body
            if is_brisk or deadline is not None:
                count = self._look_again(sock, view, begin + (_AGAIN_S if is_brisk else 0.0))
            if count < 0 and (deadline is None or self._is_readable_by(sock, deadline, timeout)):
                count = sock.recv_into(view)
        except BlockingIOError:
            count = -1
        except errors.ChannelTimeoutError:  # an OSError too
            raise
        except OSError as error:
            raise self._lost(error) from error
        finally:
            view.release()
            now = time.monotonic()
            self._waited_s += now - begin
            self._is_brisk = now - begin < _BRISK_S
        if count > 0:
            reader.received(count)
            self._heard = now
            return True
        if count == 0:
            raise self._ended(reader)
        if deadline is None:  # who waits for a limited time is in no deadlock
            self._look_around(sock, sending=False)
            self._empty_ticks += 1
            if self._empty_ticks == _CALM_AFTER:
                sockets.set_receive_tick(sock, sockets.CALM_TICK_S)
        return False

    def _end_calm(self) -> None:
        """Nobody waits here any more: the next message is waited for with short ticks again."""
        if self.is_calm and self.connection is not None:
            sockets.set_receive_tick(self.connection.sock, sockets.TICK_S)
        self._empty_ticks = 0

    @staticmethod
    def _look_again(sock: socket.socket, view: memoryview, until: float) -> int:
        """What has come, looked for without sleeping; -1 if nothing has by ``until`` (monotonic)."""
        while True:
            try:
                return sock.recv_into(view, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return -1
            os.sched_yield()  # the answer may have to be made on this very processor

    def _is_readable_by(self, sock: socket.socket, deadline: float, timeout: float | None) -> bool:
        now = time.monotonic()
        left = deadline - now
        slice_s = min(max(left, 0.0), sockets.TICK_S)
        if not sockets.is_readable(sock, slice_s):
            self._check_alive(sock)
            if left <= slice_s:
                raise self._timed_out(timeout)
            return False
        return True

    def _timed_out(self, timeout: float | None) -> errors.ChannelTimeoutError:
        return errors.ChannelTimeoutError(f"nothing came from {self.name} within {timeout:g} s")

    # --- life and death --------------------------------------------------------------------------

    def _socket(self) -> socket.socket:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self.connection is None:
            handover.reconnect(self)
        assert self.connection is not None
        return self.connection.sock

    def _look_around(self, sock: socket.socket, *, sending: bool) -> None:
        """What a blocked call does each tick."""
        self._check_alive(sock)
        self.home.waits.tick([self], sending=sending)

    def _check_alive(self, sock: socket.socket) -> None:
        settings = self.home.settings
        try:
            silence = sockets.silent_for(sock)
        except OSError as error:  # closed by another thread
            raise self._lost(error) from error
        if silence > settings.host_silence_s:
            raise self._fail(errors.PeerSilentError(self.name, silence))
        silence = time.monotonic() - self._heard
        if self.peer.keepalive_s and silence > max(settings.silence_s, 3 * self.peer.keepalive_s):
            raise self._fail(errors.PeerSilentError(self.name, silence))

    def _ended(self, reader: FrameReader) -> errors.ParcsError:
        try:
            reader.end()
        except errors.TruncatedFrameError as error:
            return self._fail(error)
        return self._gone(
            "ended without a goodbye", is_finished=self.peer.version == 1 or self._peer_said_bye
        )

    def _lost(self, error: OSError) -> errors.ParcsError:
        """The system says the connection is gone; the peer's last words may still be there to read."""
        return self._gone(f"is gone: {error}", is_finished=self._peer_said_bye)

    def _gone(self, how: str, *, is_finished: bool) -> errors.ParcsError:
        if is_finished:
            return self._fail(errors.EndOfChannelError(f"{self.name} has finished and closed the channel"))
        return self._fail(errors.ChannelBrokenError(f"the connection to {self.name} {how}"))

    def _fail(self, error: errors.ParcsError) -> errors.ParcsError:
        if self._failure is None:
            self._failure = error
        return self._failure

    @property
    def is_over(self) -> bool:
        """Whether the peer has said goodbye, or is lost; not if this program closed it or handed it on."""
        lost = isinstance(self._failure, errors.EndOfChannelError | errors.ChannelBrokenError)
        return self._peer_said_bye or lost

    @property
    def is_calm(self) -> bool:
        """Whether somebody has been waiting here for a message for long."""
        return self._empty_ticks >= _CALM_AFTER

    def beat(self) -> None:
        """One beat of the keeper: a sign of life if it is due, and what came while nobody received."""
        if self.connection is None or self._failure is not None:
            return
        interval = self.home.settings.keepalive_s
        due = interval and time.monotonic() - self._spoke >= interval
        if due and self.peer.version == 2 and not self._peer_said_bye:
            self._send_keepalive()
        connection = self.connection
        if connection is not None:
            try:
                self._check_alive(connection.sock)
            except errors.ParcsError:
                sockets.wake(connection.sock)  # who is blocked on it may be in the middle of a long tick
                raise
        if not self.watchers and self.receive_lock.acquire(blocking=False):
            try:
                self._read_ahead()
                if self.connection is not None:
                    self.connection.reader.pool.release()
            finally:
                self.receive_lock.release()

    def _send_keepalive(self) -> None:
        if not self.send_lock.acquire(blocking=False):
            return  # somebody is sending: that is sign of life enough
        try:
            connection = self.connection
            if connection is not None and sockets.is_writable(connection.sock):
                self._write([header.pack(header.KEEPALIVE, 0)], header.SIZE)
        except (errors.ParcsError, OSError):
            return  # the next call of the user meets the failure and reports it
        finally:
            self.send_lock.release()

    def _read_ahead(self) -> None:
        """Take in what has arrived, without waiting; called with the receive lock held."""
        try:
            self._take_frames()
            is_more = True
            while is_more and self.connection is not None and not self._peer_said_bye:
                if self._inbox_bytes > _READ_AHEAD or len(self.inbox) > _AHEAD_FRAMES:
                    return
                is_more = self._read_now(self.connection)
                self._take_frames()
        except errors.ParcsError as error:
            self._fail(error)

    def _take_frames(self) -> None:
        """Put the complete frames that have been read into the inbox."""
        while self._failure is None and self.connection is not None:
            frame = self.connection.reader.next_frame()
            if frame is None:
                return
            if self._is_users(frame):
                self.inbox.append(frame)
                self._inbox_bytes += len(frame.body)

    def _read_now(self, connection: Connection) -> bool:
        """Read once without waiting; False if that was all there is for now."""
        view = connection.reader.buffer()
        room = len(view)
        try:
            count = connection.sock.recv_into(view, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._lost(error) from error
        finally:
            view.release()
        if count == 0:
            raise self._ended(connection.reader)
        connection.reader.received(count)
        self._heard = time.monotonic()
        return count == room

    def install(self, connection: Connection) -> None:
        """Go on over another connection, after the peer handed its end on."""
        sockets.tune(connection.sock, self.home.settings.host_silence_s)
        self._empty_ticks = 0
        self.peer = connection.peer
        self.sent = self.received = 0
        self._heard = time.monotonic()
        self.connection = connection

    def leave(self, error: errors.ChannelError) -> None:
        """This end is over for its user: every later call raises ``error``."""
        self._fail(error)
        self.home.forget(self)

    def close(self, patience_s: float | None = None) -> None:
        """As `Channel.close`; what the peer has not taken after ``patience_s`` is given up."""
        if not self._closing.acquire(blocking=False):
            return
        connection, broken = self.connection, self._failure is not None
        self.leave(errors.ChannelClosedError(f"the channel to {self.name} was closed by this program"))
        self.connection = None
        if connection is None:
            return
        if not broken and self.peer.version == 2 and self.send_lock.acquire(timeout=1.0):
            try:
                connection.sock.sendall(control.frame({"kind": "bye"}))
            except OSError:
                broken = True  # the peer is gone already: no goodbye needed
            finally:
                self.send_lock.release()
        if patience_s is None:
            patience_s = self.home.settings.silence_s
        sockets.settle(connection.sock, 0.0 if broken or self._peer_said_bye else patience_s)

    @property
    def statistics(self) -> base.Statistics:
        return base.Statistics(
            self.sent, self.received, self._bytes_sent, self._bytes_received, self._waited_s
        )


def _after(parts: list[codecs.Part], done: int, total: int) -> list[codecs.Part]:
    """What is left of ``parts`` once all but the last ``total - done`` bytes went out."""
    left = total - done
    rest: list[codecs.Part] = []
    for part in reversed(parts):
        size = len(part)
        rest.append(part if size <= left else memoryview(part)[size - left :])
        left -= min(size, left)
        if not left:
            break
    rest.reverse()
    return rest
