"""A worker of a pool: runs the functions it is sent, one after the other.

While a long task runs, the keeper's beat sends results that are ready and gives back tasks not yet begun
if the pool recalls them for an idle worker.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from parcs import errors
from parcs.channel.tcp import TcpChannel
from parcs.pool import messages
from parcs.pool.spin import Spin
from parcs.server import Service, serve

_HOLD_BACK_S = 0.0002
_MOST_HELD_BACK = 256

Task = tuple[int, int, tuple[Any, ...], dict[str, Any]]


class Worker(Service):
    """Runs until its pool closes the channel."""

    def run(self) -> None:
        self._functions: dict[int, Callable[..., Any]] = {}
        self._tasks: deque[Task] = deque()
        self._results: list[tuple[int, bool, Any]] = []
        self._busy_s = 0.0
        self._works_read = 0
        self._is_running = False
        self._lock = threading.RLock()
        channel = self._attached.parent
        if not self._set_up(channel):
            return
        spin = Spin()

        def take_next() -> None:
            self._take_next(channel, None)

        self._attached.endpoint.on_beat.append(lambda: self._between(channel))
        try:
            while True:
                self._run_tasks(channel)
                spin.wait(channel.poll, take_next)
        except errors.EndOfChannelError:
            return  # the pool has no more work

    def _set_up(self, channel: TcpChannel) -> bool:
        _, path, initializer, initargs = channel.recv()
        sys.path[:] = [*path, *(place for place in sys.path if place not in path)]
        if initializer is not None:
            try:
                initializer(*initargs)
            except Exception as error:  # the user's code may raise anything, and the pool has to know
                messages.send(channel, (messages.BROKEN, messages.failure(error)))
                return False
        return True

    def _run_tasks(self, channel: TcpChannel) -> None:
        sent_at = time.perf_counter()
        self._is_running = True
        while True:
            with self._lock:
                if not self._tasks:
                    self._is_running = False
                    self._flush(channel)
                    return
                task = self._tasks.popleft()
            begin = time.perf_counter()
            result = self._run_one(*task)
            now = time.perf_counter()
            with self._lock:
                self._results.append(result)
                self._busy_s += now - begin
                if now - sent_at > _HOLD_BACK_S or len(self._results) >= _MOST_HELD_BACK:
                    self._flush(channel)
                    sent_at = now

    def _run_one(
        self, number: int, key: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, bool, Any]:
        try:
            return number, True, self._functions[key](*args, **kwargs)
        except Exception as error:  # the user's code may raise anything: it belongs to whoever asked
            return number, False, messages.failure(error)

    def _flush(self, channel: TcpChannel) -> None:
        if not self._results:
            return
        results, self._results = self._results, []
        busy, self._busy_s = self._busy_s, 0.0
        try:
            messages.send(channel, (messages.DONE, results, busy))
        except (errors.EncodeError, errors.FrameTooLargeError):
            for number, ok, value in results:
                self._send_one(channel, number, ok, value, busy / len(results))

    def _send_one(self, channel: TcpChannel, number: int, ok: bool, value: Any, busy: float) -> None:
        try:
            messages.send(channel, (messages.DONE, [(number, ok, value)], busy))
        except (errors.EncodeError, errors.FrameTooLargeError) as error:
            messages.send(channel, (messages.DONE, [(number, False, messages.failure(error))], busy))

    def _take_next(self, channel: TcpChannel, timeout: float | None) -> None:
        try:
            message = channel.recv(timeout)
        except errors.DecodeError as error:
            self._works_read += 1
            messages.send(channel, (messages.UNREAD, self._works_read, str(error)))
            return
        with self._lock:
            if message[0] == messages.WORK:
                self._works_read += 1
                self._functions.update(message[1])
                self._tasks.extend(message[2])
            elif message[0] == messages.RECALL:
                back = [self._tasks.pop()[0] for _ in range(min(message[1], len(self._tasks)))]
                messages.send(channel, (messages.RETURNED, back))

    def _between(self, channel: TcpChannel) -> None:
        """A beat of the keeper, possibly in the middle of a long task."""
        try:
            with self._lock:
                if not self._is_running:
                    return  # the main thread receives for itself
                self._flush(channel)
                while channel.poll() and channel.inbox:
                    self._take_next(channel, 0.0)
        except errors.ParcsError:
            return  # the main thread meets the same, and ends


if __name__ == "__main__":
    serve(Worker())
