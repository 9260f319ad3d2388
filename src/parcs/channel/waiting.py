"""Which threads of this program wait, for which channels; and what the program's channels have carried.

A thread that has been blocked for a tick reports here. Once *every* thread of the user's is blocked, with
no time limit of its own, the program cannot move unless a message comes: that is told to the engine server
(`WaitBoard.on_change`), which knows what the others wait for and says so when they all wait for each other.
What is told includes how many messages each channel carried in each direction, so that a message still
under way is never mistaken for a deadlock.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from parcs import errors
from parcs.channel import base, sockets

if TYPE_CHECKING:
    from parcs.channel.tcp import TcpChannel
    from parcs.contract.engine import Traffic

_MOST_CLOSED = 10_000
OWN_THREAD = "parcs-"
"""Threads of ours have names that start so: they never send a user's message."""

C = TypeVar("C", bound=base.Carrier)


class Wait(NamedTuple):
    """One blocked call: on any one of these channels, to receive or (``sending``) to be read from."""

    channels: tuple[TcpChannel, ...]
    sending: bool


class WaitBoard:
    """The blocked threads of one program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[int, Wait] = {}
        self._reported: frozenset[Wait] = frozenset()
        self._number = 0
        self._verdict: tuple[int, list[str]] = (0, [])
        self.on_change: Callable[[int, list[Wait]], None] | None = None

    def tick(self, channels: Sequence[TcpChannel], *, sending: bool) -> None:
        """This thread has been blocked on ``channels`` for another tick.

        Raises:
            DeadlockError: so has everybody who could end this wait.
        """
        with self._lock:
            self._waits[threading.get_ident()] = Wait(tuple(channels), sending)
            self._check_verdict()
            blocked = frozenset(self._waits.values()) if self._all_blocked() else frozenset()
            self._tell(blocked)

    def check_verdict(self) -> None:
        """A blocked thread's channel ended: perhaps because its peer was the first to hear of a deadlock.

        Raises:
            DeadlockError: so it is.
        """
        with self._lock:
            if threading.get_ident() in self._waits:
                self._check_verdict()

    def _check_verdict(self) -> None:
        number, cycle = self._verdict
        if cycle and number == self._number:
            raise errors.DeadlockError(cycle)

    def end(self) -> None:
        """This thread is blocked no more."""
        with self._lock:
            if self._waits.pop(threading.get_ident(), None) is not None:
                self._tell(frozenset())

    def blocked(self) -> dict[TcpChannel, str]:
        """The channels that some thread waits for just now: to ``recv``, or to ``send``."""
        with self._lock:
            waits = list(self._waits.values())
        return {channel: "send" if wait.sending else "recv" for wait in waits for channel in wait.channels}

    def judge(self, number: int, cycle: list[str]) -> None:
        """The engine server says of report ``number``: it is a deadlock."""
        with self._lock:
            self._verdict = (number, cycle)

    def _tell(self, blocked: frozenset[Wait]) -> None:
        if blocked != self._reported and self.on_change is not None:
            self._number += 1
            self._reported = blocked
            self.on_change(self._number, list(blocked))

    def _all_blocked(self) -> bool:
        return all(
            thread.ident in self._waits or thread.name.startswith(OWN_THREAD)
            for thread in threading.enumerate()
        )


class Ledger:
    """What a program's channels did: totals of those that are gone, and events while tracing."""

    def __init__(self) -> None:
        self.past = base.Statistics()
        self.is_tracing = False
        self.closed: deque[Traffic] = deque(maxlen=_MOST_CLOSED)
        """Channels that are gone, of a program in a cluster: to be told."""
        self._events: list[list[Any]] = []

    def add_event(self, kind: str, channel: TcpChannel, number: int, size: int, begin: float) -> None:
        """A message went through: number ``number`` of its direction, from ``begin`` until now."""
        self._events.append([kind, channel.identity, channel.peer.name, number, size, begin, time.time()])

    def take_events(self) -> list[list[Any]]:
        """The events so far; they are forgotten here."""
        events, self._events = self._events, []
        return events


def wait_any(carriers: Iterable[C], timeout: float | None = None) -> list[C]:
    """Wait until at least one of several channels (or points) has a message to receive.

    Returns:
        Those from which `recv` returns or raises at once, in the order given.

    Raises:
        ChannelTimeoutError: none within ``timeout`` seconds.
        DeadlockError: their peers wait too, and nobody can move.
    """
    from parcs.channel.tcp import TcpChannel

    waiting = list(carriers)
    channels = [carrier.channel for carrier in waiting]
    if not channels:
        raise ValueError("wait_any needs at least one channel")
    deadline = None if timeout is None else time.monotonic() + timeout
    tcp = [channel for channel in channels if isinstance(channel, TcpChannel)]
    board = tcp[0].home.waits if tcp and deadline is None and len(tcp) == len(channels) else None
    pause = sockets.TICK_S if len(tcp) == len(channels) else 0.001
    for watched in tcp:
        watched.watchers += 1
    try:
        while True:
            ready = [c for c, channel in zip(waiting, channels, strict=True) if channel.poll()]
            if ready:
                return ready
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if left <= 0:
                names = ", ".join(channel.name for channel in channels[:4])
                raise errors.ChannelTimeoutError(f"nothing came from any of {names} within {timeout:g} s")
            live = [c.connection.sock for c in tcp if c.connection is not None]
            if not _any_readable(live, left) and board is not None:
                board.tick(tcp, sending=False)
    finally:
        for watched in tcp:
            watched.watchers -= 1
        if board is not None:
            board.end()


def _any_readable(live: list[Any], timeout_s: float) -> bool:
    poller = select.poll()
    for sock in live:
        poller.register(sock, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))
