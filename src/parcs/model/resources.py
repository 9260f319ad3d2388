"""What a point needs of the machine it runs on, and which machines will do."""

from __future__ import annotations

from typing import Any, NamedTuple

from parcs import errors
from parcs.model import settings


class Resources(NamedTuple):
    """Needs of one point. ``memory`` is bytes; 0 means "not stated".

    The local engine shares one machine among all points and does not enforce these; a Swarm reserves them
    and lets no point take more.
    """

    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0

    def to_json(self) -> dict[str, Any]:
        """Only what is stated."""
        return {key: value for key, value in self._asdict().items() if value}


class Placement(NamedTuple):
    """Which machines will do: constraints as Swarm writes them (``node.labels.disk==ssd``), and how many
    points of one start may share a machine (0: any number)."""

    constraints: tuple[str, ...] = ()
    per_node: int = 0

    def to_json(self) -> dict[str, Any]:
        """Only what is stated."""
        stated = {"constraints": list(self.constraints), "per_node": self.per_node}
        return {key: value for key, value in stated.items() if value}


class Needs(NamedTuple):
    """Both."""

    resources: Resources = Resources()
    placement: Placement = Placement()

    def to_json(self) -> dict[str, Any]:
        """As one table, only what is stated."""
        return {**self.resources.to_json(), **self.placement.to_json()}


_KEYS = (*Resources._fields, *Placement._fields)


def parse(table: dict[str, Any], where: str) -> Needs:
    """Read a table such as ``{cpus = 2, memory = "512MiB", constraints = ["node.role==worker"]}``.

    Raises:
        ManifestError: an unknown key or a wrong value; ``where`` is named in the message.
    """
    unknown = set(table) - set(_KEYS)
    if unknown:
        raise errors.ManifestError(
            f"{where}: unknown resource {', '.join(sorted(unknown))}; there are {', '.join(_KEYS)}"
        )
    memory, constraints = table.get("memory", 0), table.get("constraints", ())
    try:
        resources = Resources(
            cpus=float(table.get("cpus", 0)),
            memory=settings.parse_size(memory, "memory") if isinstance(memory, str) else int(memory),
            gpus=int(table.get("gpus", 0)),
        )
        per_node = int(table.get("per_node", 0))
    except (TypeError, ValueError, errors.SettingsError) as error:
        raise errors.ManifestError(f'{where}: {error}; for example cpus = 2, memory = "512MiB"') from None
    if min(*resources, per_node) < 0:
        raise errors.ManifestError(f"{where}: resources cannot be negative")
    if isinstance(constraints, str):
        constraints = [constraints]
    if not isinstance(constraints, list | tuple) or not all(isinstance(text, str) for text in constraints):
        raise errors.ManifestError(f'{where}: constraints should be strings, as ["node.labels.disk==ssd"]')
    return Needs(resources, Placement(tuple(constraints), per_node))


def merge(base: Needs, override: Needs) -> Needs:
    """What a program asks for, over what the module says it needs."""
    mine, theirs = override.resources, base.resources
    resources = Resources(mine.cpus or theirs.cpus, mine.memory or theirs.memory, mine.gpus or theirs.gpus)
    placement = Placement(
        override.placement.constraints or base.placement.constraints,
        override.placement.per_node or base.placement.per_node,
    )
    return Needs(resources, placement)
