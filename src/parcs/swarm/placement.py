"""Before anything is started: can these points run here at all? Pure.

Swarm would leave them "pending" without a word to the program; we say at once what is missing and what is free
where. The same arithmetic as Swarm's scheduler: what nodes have, less what the tasks on them have reserved.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

from parcs import errors
from parcs.dockerapi.nodes import Node
from parcs.dockerapi.tasks import Task
from parcs.model.resources import Placement, Resources


class Room(NamedTuple):
    """What is free on one node; ``why_not`` is set where it cannot be used at all."""

    node: Node
    cpus: float
    memory: int
    gpus: int
    why_not: str


def survey(
    nodes: Sequence[Node], tasks: Sequence[Task], placement: Placement, platforms: Sequence[str]
) -> list[Room]:
    """What every node has left for such points."""
    rooms = []
    for node in nodes:
        here = [task for task in tasks if task.node == node.id and not task.is_over]
        rooms.append(
            Room(
                node,
                round(node.cpus - sum(task.cpus for task in here), 6),
                node.memory - sum(task.memory for task in here),
                node.gpus - sum(task.gpus for task in here),
                _why_not(node, placement, platforms),
            )
        )
    return rooms


def check(rooms: Sequence[Room], needs: Resources, placement: Placement, count: int, what: str) -> None:
    """Whether ``count`` points fit.

    Raises:
        NoRoomError: they do not; says what is free where.
    """
    fits = sum(_how_many(room, needs, placement, count) for room in rooms)
    if fits >= count:
        return
    each = " each" if count > 1 else ""
    wanted = f"{what}: {count} point{'s' if count > 1 else ''} cannot be placed"
    needed = _describe(needs)
    if needed:
        wanted += f" (needs {needed}{each})"
    if placement.per_node:
        wanted += f" (at most {placement.per_node} on a node)"
    raise errors.NoRoomError(
        f"{wanted}; there is room for {fits}. Free: {'; '.join(_free(room) for room in rooms)}"
    )


def check_addresses(capacity: int, used: int, count: int, network: str) -> None:
    """Whether the network has addresses for ``count`` more containers.

    Raises:
        NoRoomError: it has not.
    """
    if capacity - used < count:
        raise errors.NoRoomError(
            f"the network {network!r} has {max(capacity - used, 0)} of its {capacity} addresses left, and {count} "
            "are needed; make it again with a larger subnet (docker network create -d overlay --subnet ...)"
        )


def _how_many(room: Room, needs: Resources, placement: Placement, count: int) -> int:
    if room.why_not:
        return 0
    limits = [count]
    if needs.cpus:
        limits.append(int((room.cpus + 1e-9) / needs.cpus))
    if needs.memory:
        limits.append(room.memory // needs.memory)
    if needs.gpus:
        limits.append(room.gpus // needs.gpus)
    if placement.per_node:
        limits.append(placement.per_node)
    return max(min(limits), 0)


def _why_not(node: Node, placement: Placement, platforms: Sequence[str]) -> str:
    if node.state != "ready":
        return node.state
    if node.availability != "active":
        return node.availability
    own = f"{node.os}/{node.architecture}"
    if platforms and own not in platforms:
        return f"is {own}, the image is for {', '.join(platforms)}"
    for constraint in placement.constraints:
        if not satisfies(node, constraint):
            return f"is not {constraint}"
    return ""


def satisfies(node: Node, constraint: str) -> bool:
    """Whether a node meets a constraint, as ``node.role==worker`` or ``node.labels.disk != ssd``.

    Raises:
        SwarmError: it is no constraint.
    """
    for operator in ("==", "!="):
        key, found, value = (part.strip() for part in constraint.partition(operator))
        if found:
            is_equal = fnmatch.fnmatchcase(_fact(node, key, constraint).lower(), value.lower())
            return is_equal == (operator == "==")
    raise errors.SwarmError(
        f"{constraint!r} is no constraint; it should look like node.labels.disk==ssd or node.role!=manager"
    )


def _fact(node: Node, key: str, constraint: str) -> str:
    facts = {
        "node.id": node.id,
        "node.hostname": node.name,
        "node.role": node.role,
        "node.ip": node.address,
        "node.platform.os": node.os,
        "node.platform.arch": node.architecture,
    }
    if key in facts:
        return facts[key]
    for prefix, labels in (("node.labels.", node.labels), ("engine.labels.", node.engine_labels)):
        if key.startswith(prefix):
            return labels.get(key.removeprefix(prefix), "")
    raise errors.SwarmError(
        f"{constraint!r}: there is no {key!r}; there are {', '.join(facts)}, node.labels.X and engine.labels.X"
    )


def _describe(needs: Resources) -> str:
    parts = []
    if needs.cpus:
        parts.append(f"{needs.cpus:g} CPU{'s' if needs.cpus != 1 else ''}")
    if needs.memory:
        parts.append(f"{needs.memory / (1 << 20):,.0f} MiB")
    if needs.gpus:
        parts.append(f"{needs.gpus} GPU{'s' if needs.gpus != 1 else ''}")
    return ", ".join(parts)


def _free(room: Room) -> str:
    if room.why_not:
        return f"{room.node.name} {room.why_not}"
    gpus = f", {room.gpus} GPUs" if room.node.gpus else ""
    return f"{room.node.name} {room.cpus:g} CPUs, {room.memory / (1 << 20):,.0f} MiB{gpus}"
