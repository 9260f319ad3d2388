"""A module's manifest as a label of its image, so that an image says what it is. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from parcs.model import resources as needs
from parcs.module import golang
from parcs.module.manifest import Module

LABEL: Final = "org.parcs.module"
PROTOCOL: Final = 2
PROGRAMS: Final = "/module/bin"
"""Where the compiled programs of a module are in its image."""


class Description(NamedTuple):
    """What an image says of itself. ``protocol`` is 1 for an image that knows nothing of us.

    ``parameters`` maps names to ``type``, ``default`` and ``help``; commands are argument vectors.
    """

    name: str = ""
    description: str = ""
    language: str = ""
    command: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    needs: needs.Needs = needs.Needs()
    parameters: Mapping[str, dict[str, Any]] = MappingProxyType({})
    protocol: int = 1


def labels_of(module: Module) -> dict[str, str]:
    """The labels of a module's image."""
    return {
        LABEL: json.dumps(
            {
                "name": module.name,
                "description": module.description,
                "language": module.language or "python",
                "command": portable(module.command),
                "runner": portable(module.runner),
                "resources": module.needs.to_json(),
                "parameters": {
                    p.name: {"type": p.type, "default": p.default, "help": p.help}
                    for p in module.parameters.values()
                },
                "protocol": PROTOCOL,
            }
        )
    }


def labels_of_base() -> dict[str, str]:
    """The labels of the Python base, which is itself the module that pools run on."""
    about = {
        "name": "parcs/pool-worker",
        "description": "what Pool runs",
        "language": "python",
        "command": ["python3", "-m", "parcs.pool.worker"],
        "protocol": PROTOCOL,
    }
    return {LABEL: json.dumps(about)}


def read(labels: dict[str, str] | None) -> Description:
    """What an image's labels say; version 1 if they say nothing."""
    try:
        about = json.loads((labels or {})[LABEL])
        return Description(
            name=str(about.get("name", "")),
            description=str(about.get("description", "")),
            language=str(about.get("language", "")),
            command=tuple(map(str, about.get("command", ()))),
            runner=tuple(map(str, about.get("runner", ()))),
            needs=needs.parse(about.get("resources", {}), "the image's label"),
            parameters=dict(about.get("parameters", {})),
            protocol=int(about.get("protocol", PROTOCOL)),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        return Description()


def portable(command: Sequence[str]) -> list[str]:
    """A command as it is in an image: Python by its name, not by its place here; a program in Go compiled."""
    if golang.package(command):
        return [f"{PROGRAMS}/{golang.program_name(command)}", *command[3:]]
    return ["python3" if word == sys.executable else word for word in command]
