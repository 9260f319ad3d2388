"""What a task demands of an executor, what an executor offers, and why the one does not meet the other. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LEVELS: Final = ("process", "bubblewrap", "docker")


@dataclass(frozen=True)
class Demand:
    """What a task needs of the machine that runs it. Few tasks have one of their own: it is shared by its content.

    ``network`` is True where the task must reach one, False where it must not, None where both will do.
    Memory is in bytes.
    """

    isolation: str = ""
    network: bool | None = None
    memory: int = 0
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """What an executor has: the levels of isolation it can give, labels, and memory in bytes."""

    levels: tuple[str, ...] = ("process",)
    labels: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0


def objection(demand: Demand, offer: Offer) -> str:
    """Why an executor cannot run such a task; empty if it can."""
    if demand.isolation and demand.isolation not in offer.levels:
        return f"isolation {demand.isolation!r} (it offers {', '.join(offer.levels)})"
    if demand.network is False and level_of(demand) not in offer.levels:
        return f"no network (it has no {level_of(demand)} to shut it off)"
    if offer.memory and demand.memory > offer.memory:
        return f"{describe_bytes(demand.memory)} of memory (it has {describe_bytes(offer.memory)})"
    for name, value in demand.where.items():
        if offer.labels.get(name) != value:
            has = f"{name}={offer.labels[name]}" if name in offer.labels else f"no label {name}"
            return f"label {name}={value} (it has {has})"
    return ""


def level_of(demand: Demand) -> str:
    """The level that a task runs at: what it demands, else the least that can do what it wants of the network."""
    return demand.isolation or ("bubblewrap" if demand.network is False else "process")


def why_none(demand: Demand, offers: Mapping[str, Offer]) -> str:
    """One sentence: why no executor takes such a task. Empty if one could.

    Args:
        offers: of the executors that are there, by their names.
    """
    if not offers:
        return "no executor is connected; start one: parcs executor"
    objections: dict[str, str] = {}
    for name, offer in offers.items():
        said = objection(demand, offer)
        if not said:
            return ""
        objections.setdefault(said, name)
    listed = "; ".join(f"{name}: {said}" for said, name in list(objections.items())[:3])
    return f"no executor can give what it needs: {listed}"


def describe_bytes(count: float) -> str:
    """A number of bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
