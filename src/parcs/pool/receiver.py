"""Who receives the results of a pool: one thread at a time.

A thread that waits for a result and then has to be woken by another one pays for two wake-ups where one
would do (some 50 µs each). So the thread that calls ``future.result()`` receives itself, unless another
such thread does already. The pool's own thread receives when tasks are out and nobody helps; it gives way to
a helper, and stays away for a moment (`_YIELD_S`) after the last one left.
"""

from __future__ import annotations

import contextlib
import functools
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from parcs.channel.sockets import TICK_S
from parcs.channel.tcp import TcpChannel
from parcs.channel.waiting import OWN_THREAD
from parcs.pool.spin import Spin

_YIELD_S: Final = 0.005


class Receiver:
    """Receives from many channels for one pool.

    Args:
        has_work: whether any result is still to come.
        receive: take what one source has sent; False once it has ended.
        on_quiet: called when nothing has come for a tick although something is to come.
    """

    def __init__(
        self, has_work: Callable[[], bool], receive: Callable[[Any], bool], on_quiet: Callable[[], None]
    ) -> None:
        self._has_work, self._receive, self._on_quiet = has_work, receive, on_quiet
        self._role = threading.Lock()
        self._spin = Spin()
        self._wanted_at = self._looked = 0.0
        self._is_own = self._asleep = self._over = False
        self._attention = threading.Condition(threading.Lock())
        self._selector = selectors.DefaultSelector()
        self._new: deque[tuple[TcpChannel, Any]] = deque()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"{OWN_THREAD}pool", daemon=True)
        self._thread.start()

    def add(self, channel: TcpChannel, source: Any) -> None:
        """Receive from one more channel; ``receive`` is called with ``source``."""
        channel.watchers += 1
        self._new.append((channel, source))
        self._wake.send(b"x")
        self.notify()

    def notify(self) -> None:
        """There is work: have the pool's own thread look, if it sleeps."""
        if self._asleep:
            with self._attention:
                self._attention.notify()

    def help(self, is_done: Callable[[], bool], timeout: float | None) -> float | None:
        """Receive until ``is_done``, if nobody else does; returns the time left of ``timeout``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not is_done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self._wanted_at = time.monotonic()
            if not self._role.acquire(blocking=False):
                if not self._is_own:
                    break  # another helper receives: its thread will wake this one
                self._wake.send(b"x")
                self._role.acquire()
            try:
                if not self._over:
                    wait_s = TICK_S if left is None else min(left, TICK_S)
                    self._spin.wait(self._is_something_there, functools.partial(self._receive_once, wait_s))
            finally:
                self._wanted_at = time.monotonic()
                self._role.release()
            if self._over:
                break
        if self._has_work():
            self.notify()
        return None if deadline is None else max(deadline - time.monotonic(), 0.0)

    def close(self) -> None:
        """Receive no more. Twice does nothing."""
        if self._over:
            return
        self._over = True
        self._wake.send(b"x")
        with self._attention:
            self._attention.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()
        with self._role:
            self._selector.close()
            self._wake.close()
            self._woken.close()

    def _run(self) -> None:
        while not self._over:
            with self._attention:
                if time.monotonic() - self._wanted_at < _YIELD_S:
                    self._attention.wait(_YIELD_S)
                    continue
                if not self._has_work() and not self._new:
                    self._asleep = True
                    self._attention.wait(TICK_S)
                    self._asleep = False
            if self._role.acquire(timeout=TICK_S):
                self._is_own = True
                try:
                    self._receive_once(TICK_S if self._has_work() else 0.0)
                finally:
                    self._is_own = False
                    self._role.release()

    def _is_something_there(self) -> bool:
        return bool(self._selector.select(0))

    def _receive_once(self, timeout_s: float) -> None:
        ready = [key for key, _ in self._selector.select(timeout_s)]
        if not ready and timeout_s:
            self._on_quiet()
        if time.monotonic() - self._looked > TICK_S:
            self._looked = time.monotonic()
            ready += [key for key in self._dead() if key not in ready]
        for key in ready:
            if key.fileobj is self._woken:
                self._take_in_new()
            elif not self._receive(key.data[1]):
                self._selector.unregister(key.fileobj)

    def _dead(self) -> list[selectors.SelectorKey]:
        """Channels whose peer's machine is gone: the keeper knows, and their sockets say nothing for ever."""
        return [key for key in self._selector.get_map().values() if key.data and key.data[0].is_over]

    def _take_in_new(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._new:
            channel, source = self._new.popleft()
            if channel.connection is not None:
                watched = (channel, source)
                sock = channel.connection.sock
                self._selector.register(sock, selectors.EVENT_READ, watched)
                # What came before the keeper knew that this channel is watched; or its end, already.
                if not self._receive(source):
                    self._selector.unregister(sock)
