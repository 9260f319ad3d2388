"""The nemesis: one fault after another, by a seed; each is undone, and everything has a while to recover."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from chaos.history import Event, History
from chaos.hosts import Host, Hosts
from parcs.lab import system

_LONGEST_S: Final = 60.0


class Nemesis:
    """Does harm.

    Args:
        is_well: whether work goes on; the next fault waits for it, a minute at most.
    """

    def __init__(self, hosts: Hosts, history: History, seed: int, is_well: Callable[[], bool]) -> None:
        self._hosts, self._history, self._is_well = hosts, history, is_well
        self._chance = random.Random(seed)
        self._kinds = self._all_kinds()

    def run(self, seconds: float, every_s: float) -> None:
        """Do harm for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            kind = next(self._kinds)
            self._do(kind)
            deadline = time.monotonic() + _LONGEST_S
            while not self._is_well() and time.monotonic() < deadline:
                time.sleep(0.5)
            left = min(begun + every_s, until) - time.monotonic()
            time.sleep(max(0.5, left * self._chance.uniform(0.8, 1.0)))

    def _all_kinds(self) -> Iterator[str]:
        """All of them in a random order, and again: so a short run has some of each too."""
        while True:
            kinds = [name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_")]
            self._chance.shuffle(kinds)
            yield from kinds

    def _do(self, kind: str) -> None:
        host = self._chance.choice(self._hosts.all)
        was_whole = self._hosts.are_whole()
        begun = self._history.now()
        what = getattr(self, f"_do_{kind}")(host)
        self._history.events.append(
            Event(begun, self._history.now(), kind.replace("_", " "), what, was_whole)
        )

    def _hold(self, longest_s: float) -> None:
        time.sleep(self._chance.uniform(0.2, 1.0) * longest_s)

    def _do_kill_hub(self, host: Host) -> str:
        host.programs["hub"].send(signal.SIGKILL)
        return host.name

    def _do_kill_executor(self, host: Host) -> str:
        pid = host.programs["executor"].pid
        if pid is not None:
            system.end([pid])
        return host.name

    def _do_kill_primary(self, host: Host) -> str:
        host = self._hosts.primary() or host
        if (pid := host.postmaster()) is not None:
            system.end([pid])
        return host.name

    def _do_kill_host(self, host: Host) -> str:
        return self._die(host)

    def _do_kill_the_primarys_host(self, host: Host) -> str:
        return self._die(self._hosts.primary() or host)

    def _die(self, host: Host) -> str:
        host.die()
        self._hold(30)
        host.start()
        return host.name

    def _do_cut(self, host: Host) -> str:
        return self._cut(host, "both")

    def _do_cut_the_primary(self, host: Host) -> str:
        return self._cut(self._hosts.primary() or host, "both")

    def _do_cut_one_way(self, host: Host) -> str:
        return self._cut(host, self._chance.choice(("in", "out")))

    def _do_cut_the_primary_one_way(self, host: Host) -> str:
        return self._cut(self._hosts.primary() or host, self._chance.choice(("in", "out")))

    def _do_cut_two_from_each_other(self, host: Host) -> str:
        other = self._chance.choice([each for each in self._hosts.all if each is not host])
        return self._cut(host, self._chance.choice(("both", "in", "out")), other)

    def _cut(self, host: Host, way: str, other: Host | None = None) -> str:
        host.cut(way, other)
        self._hold(35)
        host.heal()
        return f"{host.name} {way}" + (f" from {other.name}" if other else "")

    def _do_pause_hub(self, host: Host) -> str:
        return self._pause(host, "hub", host.programs["hub"].family(), 25)

    def _do_pause_executor(self, host: Host) -> str:
        return self._pause(host, "executor", host.programs["executor"].family(), 25)

    def _do_pause_database(self, host: Host) -> str:
        host = self._hosts.primary() or host
        return self._pause(host, "database", host.database(), 30)

    def _do_pause_patroni(self, host: Host) -> str:
        """Its server goes on as a primary that nobody renews: another one is made beside it."""
        host = self._hosts.primary() or host
        return self._pause(host, "patroni", host.programs["patroni"].family(), 30)

    def _do_pause_etcd(self, host: Host) -> str:
        return self._pause(host, "etcd", host.programs["etcd"].family(), 15)

    def _pause(self, host: Host, name: str, processes: Sequence[int], longest_s: float) -> str:
        system.end(processes, signal.SIGSTOP)
        self._hold(longest_s)
        system.end(processes, signal.SIGCONT)
        return f"{name} of {host.name}"

    def _do_fill_disk(self, host: Host) -> str:
        host.fill()
        self._hold(20)
        host.empty()
        return host.name

    def _do_skew_clock(self, host: Host) -> str:
        seconds = self._chance.choice((-3600.0, -60.0, -5.0, 5.0, 60.0, 3600.0))
        host.set_clock(seconds)
        self._hold(25)
        host.set_clock(0.0)
        return f"{host.name} by {seconds:+.0f} s"
