"""Reading ``parcs.toml``.

name = "factor"                       # what runners call it
description = "Divisors of a number"
language = "python"
command = "python service.py"         # what a point of it runs
runner = "python runner.py"           # what `parcs run` runs; without it, command
image = "registry/factor"             # what a cluster runs
uses = ["other"]                      # further modules its programs start: a cluster gets their images too

[resources]
cpus = 1
memory = "256MiB"
gpus = 0
constraints = ["node.labels.disk==ssd"]   # as Docker Swarm writes them
per_node = 1                              # at most so many on one machine

[parameters]
N = { type = "int", default = 1000, help = "the number to factor", min = 1 }

[study]
points = "P"                          # the parameter that is the number of points
"""

from __future__ import annotations

import shlex
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from parcs import errors
from parcs.model import resources as needs
from parcs.module import parameters

FILE_NAME: Final = "parcs.toml"

_KEYS: Final = {
    "name",
    "description",
    "language",
    "command",
    "runner",
    "image",
    "resources",
    "parameters",
    "study",
    "uses",
}


@dataclass(frozen=True)
class Module:
    """A module as its manifest describes it. ``folder`` is absolute; commands are argument vectors."""

    name: str
    folder: Path
    command: tuple[str, ...]
    runner: tuple[str, ...] = ()
    description: str = ""
    language: str = ""
    image: str = ""
    needs: needs.Needs = field(default_factory=needs.Needs)
    parameters: dict[str, parameters.Parameter] = field(default_factory=dict)
    points_parameter: str = "P"
    uses: tuple[str, ...] = ()

    @property
    def can_run(self) -> bool:
        """Whether it is a program of its own, not only something for runners to start."""
        return bool(self.runner) or not self.command

    @property
    def main(self) -> tuple[str, ...]:
        """What `parcs run` runs."""
        return self.runner or self.command


def load(folder: Path) -> Module:
    """Read the manifest in ``folder``.

    Raises:
        ManifestError: there is none, or it is wrong.
    """
    path = folder.resolve() / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.ManifestError(
            f"{folder} has no {FILE_NAME}; make a module with: parcs new NAME"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ManifestError(f"{path}: {error}") from None
    return _module(table, path)


def _module(table: dict[str, Any], path: Path) -> Module:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise errors.ManifestError(
            f"{path}: unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}"
        )
    for key in ("name", "description", "language", "image"):
        if not isinstance(table.get(key, ""), str):
            raise errors.ManifestError(f"{path}: {key} should be a string")
    name = table.get("name") or path.parent.name
    command, runner = (_command(table.get(key, ()), key, path) for key in ("command", "runner"))
    if not command and not runner:
        raise errors.ManifestError(f'{path}: it needs a command, for example command = "python main.py"')
    return Module(
        name=name,
        folder=path.parent,
        command=command,
        runner=runner,
        description=table.get("description", ""),
        language=table.get("language", ""),
        image=table.get("image", ""),
        needs=needs.parse(_table(table, "resources", path), str(path)),
        parameters=parameters.parse_all(_table(table, "parameters", path), str(path)),
        uses=_words(table.get("uses", []), "uses", path),
        points_parameter=str(_table(table, "study", path).get("points", "P")),
    )


def _words(value: Any, key: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise errors.ManifestError(f"{path}: {key} should be a list of strings")
    return tuple(value)


def _table(table: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise errors.ManifestError(f"{path}: {key} should be a table, [{key}]")
    return value


def _command(value: Any, key: str, path: Path) -> tuple[str, ...]:
    try:
        words = shlex.split(value) if isinstance(value, str) else list(value)
    except (TypeError, ValueError) as error:
        raise errors.ManifestError(f"{path}: {key}: {error}") from None
    if not all(isinstance(word, str) for word in words):
        raise errors.ManifestError(f"{path}: {key} should be a string or a list of strings")
    if words and words[0] in ("python", "python3"):
        words[0] = sys.executable  # the environment PARCS is installed in, not whichever comes first
    return tuple(words)
