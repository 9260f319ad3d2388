"""What an executor holds and what it does next. Pure: events in, decisions out; no socket, process or clock.

An attempt is waiting (leased, no slot yet), in a slot, or finished (its result is kept until the hub has
committed it). Where tasks are short, more of them are asked for than there are slots, so that no slot waits for
the hub: as many as are done in `AHEAD_S`. What has waited longer than `STALE_S` is given back, for other
executors to run.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from parcs.contract.executor import BATCH_BYTES, Lease, Result

AHEAD_S: Final = 0.2
MOST_AHEAD: Final = 256
STALE_S: Final = 0.5
_SHORT_S: Final = 0.02
"""Tasks this short go to a slot two at a time: the second begins while the first one's end is told."""
_MEMORY: Final = 0.9

Key = tuple[int, int]
"""A task and its attempt."""


class Assigned(NamedTuple):
    """A lease for a slot."""

    slot: int
    lease: Lease


class Machine:
    """One executor's attempts.

    Args:
        slots: how many tasks run at once.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.is_draining = False
        self._waiting: deque[tuple[Lease, float]] = deque()
        self._in_slots: list[OrderedDict[Key, Lease]] = [OrderedDict() for _ in range(slots)]
        self._finished: OrderedDict[Key, Result] = OrderedDict()
        self._mean_s = 1.0
        self.seen = 0
        """Leases that have arrived on this connection."""

    @property
    def busy(self) -> int:
        """Slots that run something."""
        return sum(bool(slot) for slot in self._in_slots)

    @property
    def is_ahead(self) -> bool:
        """Whether there is work for every slot beyond what runs: then results may gather."""
        return len(self._waiting) >= self.slots

    def held(self) -> list[Key]:
        """Every attempt that is here: to be told to a hub."""
        waiting = [_key(lease) for lease, _ in self._waiting]
        return [*waiting, *(key for slot in self._in_slots for key in slot), *self._finished]

    def more(self) -> int:
        """How many more tasks would be taken now."""
        if self.is_draining:
            return 0
        ahead = min(MOST_AHEAD, int(AHEAD_S / max(self._mean_s, 1e-4))) if self._mean_s < AHEAD_S / 2 else 0
        here = len(self._waiting) + sum(map(len, self._in_slots))
        return max(0, self.slots * (1 + ahead) - here)

    def on_leases(self, leases: Iterable[Lease], now: float) -> list[Assigned]:
        """New work. What is here already is not taken twice."""
        leases = list(leases)
        self.seen += len(leases)
        known = set(self.held())
        self._waiting += [(lease, now) for lease in leases if _key(lease) not in known]
        return self._assign()

    def on_result(self, slot: int, result: Result) -> list[Assigned]:
        """A slot has finished."""
        key = (result.task, result.attempt)
        if self._in_slots[slot].pop(key, None) is not None:
            self._finished[key] = result
            self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * min(result.took_s, 1.0)
        return self._assign()

    def is_in_slot(self, slot: int, key: Key) -> bool:
        """Whether a slot has it still."""
        return key in self._in_slots[slot]

    def on_slot_lost(self, slot: int) -> list[Key]:
        """A slot's process has died; gives the attempts that were in it."""
        keys = list(self._in_slots[slot])
        self._in_slots[slot].clear()
        return keys

    def on_ack(self, keys: Iterable[Key]) -> None:
        """The hub has these results, or does not want them."""
        for key in keys:
            self._finished.pop(key, None)

    def on_dropped(self, keys: Iterable[Key]) -> list[tuple[int, Key]]:
        """These are no longer ours, or somebody cancelled them; gives those that a slot has to end."""
        wanted = set(keys)
        self._waiting = deque(each for each in self._waiting if _key(each[0]) not in wanted)
        return [(i, key) for i, slot in enumerate(self._in_slots) for key in slot if key in wanted]

    def waiting_among(self, keys: Iterable[Key]) -> list[Key]:
        """Those of them that no slot has yet."""
        wanted = set(keys)
        return [_key(lease) for lease, _ in self._waiting if _key(lease) in wanted]

    def finish(self, result: Result) -> None:
        """A result that no slot made."""
        self._finished[(result.task, result.attempt)] = result

    def finished(self) -> list[Result]:
        """Every result that no hub has yet."""
        return list(self._finished.values())

    def results(self) -> list[Result]:
        """What has to be told to the hub, as much as goes in one message."""
        found: list[Result] = []
        size = 0
        for result in self._finished.values():
            size += result.size()
            if found and size > BATCH_BYTES:
                break
            found.append(result)
        return found

    def stale(self, now: float) -> list[Key]:
        """Take out what has waited too long, to be given back."""
        keys = [_key(lease) for lease, since in self._waiting if now - since > STALE_S]
        self.on_dropped(keys)
        return keys

    def check_invariants(self) -> None:
        """Every attempt is in one place."""
        held = self.held()
        if len(held) != len(set(held)):
            raise AssertionError(f"an attempt is in two places: {sorted(held)}")

    def _assign(self) -> list[Assigned]:
        return list(self._assignments())

    def _assignments(self) -> Iterator[Assigned]:
        depth = 2 if self._mean_s < _SHORT_S else 1
        while self._waiting:
            slot = min(range(self.slots), key=lambda i: len(self._in_slots[i]))
            if len(self._in_slots[slot]) >= depth:
                return
            lease, _ = self._waiting.popleft()
            self._in_slots[slot][_key(lease)] = lease
            yield Assigned(slot, lease)


def _key(lease: Lease) -> Key:
    return lease.task, lease.attempt
