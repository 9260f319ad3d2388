"""What a point needs of the machine it runs on."""

from __future__ import annotations

from typing import Any, NamedTuple

from parcs import errors
from parcs.model import settings


class Resources(NamedTuple):
    """Needs of one point. ``memory`` is bytes; 0 means "not stated".

    The local engine shares one machine among all points and does not enforce these; engines that
    schedule do.
    """

    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0

    def to_json(self) -> dict[str, Any]:
        """Only what is stated."""
        return {key: value for key, value in self._asdict().items() if value}


def parse(table: dict[str, Any], where: str) -> Resources:
    """Read a table such as ``{cpus = 2, memory = "512MiB"}``.

    Raises:
        ManifestError: an unknown key or a wrong value; ``where`` is named in the message.
    """
    unknown = set(table) - set(Resources._fields)
    if unknown:
        raise errors.ManifestError(
            f"{where}: unknown resource {', '.join(sorted(unknown))}; "
            f"there are {', '.join(Resources._fields)}"
        )
    memory = table.get("memory", 0)
    try:
        resources = Resources(
            cpus=float(table.get("cpus", 0)),
            memory=settings.parse_size(memory, "memory") if isinstance(memory, str) else int(memory),
            gpus=int(table.get("gpus", 0)),
        )
    except (TypeError, ValueError, errors.SettingsError) as error:
        raise errors.ManifestError(f'{where}: {error}; for example cpus = 2, memory = "512MiB"') from None
    if min(resources) < 0:
        raise errors.ManifestError(f"{where}: resources cannot be negative")
    return resources
