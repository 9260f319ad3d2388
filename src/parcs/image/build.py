"""Building images: PARCS's own, and one for every module. What has not changed is not built again.

An image's tag is the digest of everything that goes into it, so whether it has to be built is one question to
the registry, and a run can be repeated with exactly the same image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.dockerapi import containers, images
from parcs.dockerapi.client import Docker
from parcs.image import description, site
from parcs.image.context import Context
from parcs.module import cache, golang
from parcs.module.manifest import Module
from parcs.version import VERSION

BASE_VARIABLE: Final = "PARCS_BASE"
DATABASE_BASE_VARIABLE: Final = "PARCS_DATABASE_BASE"
"""A Debian with Python; with PostgreSQL and etcd too, where builds reach no package archive."""
GO_VARIABLE: Final = "PARCS_GO_BASE"
DEFAULT_GO: Final = "golang:1"
DEFAULT_BASE: Final = "python:3-slim"
_PACKAGE: Final = Path(__file__).parents[1]
_HERE: Final = Path(__file__).parent

_HUB: Final = (
    "alembic", "argon2-cffi", "docker", "fastapi", "httptools", "httpx2", "prometheus-client", "psutil", "psycopg",
    "psycopg-binary", "python-dateutil", "python-multipart", "requests", "rich", "sqlalchemy", "typer", "urllib3",
    "uvicorn", "uvloop", "websockets",
)  # fmt: skip
_PATRONI: Final = (
    "click", "dnspython", "prettytable", "psutil", "psycopg[binary]", "python-dateutil", "PyYAML", "urllib3",
)  # fmt: skip

Tell = Callable[[str], None]


class Built(NamedTuple):
    """An image that is in the registry. ``reference`` has a tag, ``pinned`` the digest."""

    reference: str
    pinned: str
    is_new: bool


class Base(NamedTuple):
    """What a Python image is built from: its name, the version in it (``3.11``), its processor."""

    name: str
    python: str
    architecture: str


class Builder:
    """Builds with one Docker Engine for one registry.

    Args:
        registry: what stands before every name, as ``host:5000`` or ``host:5000/team``; empty keeps images in
            that Engine alone, which will do for a Swarm of one node.
        tell: is given a line for each step that takes a while.
    """

    def __init__(self, docker: Docker, registry: str, tell: Tell = lambda line: None) -> None:
        self._docker, self.registry, self._tell = docker, registry.rstrip("/"), tell
        self._host = images.registry_of(f"{self.registry}/x") if self.registry else ""
        self.credentials = images.stored_credentials(self._host) if self.registry else None

    def name(self, name: str, tag: str = "latest") -> str:
        """The reference of an image of ours."""
        name = images.repository(name)
        has_own = bool(images.registry_of(name)) or not self.registry
        return f"{name}:{tag}" if has_own else f"{self.registry}/{name}:{tag}"

    def python(self) -> Built:
        """The base image of Python points, built and pushed if it is not there.

        Raises:
            ImageMissingError, ImageBuildError: it cannot be made.
        """
        base = self._base()
        wanted = site.own_requirements("cloudpickle", "msgspec")
        context = Context()
        context.add("Dockerfile", (_HERE / "python" / "Dockerfile").read_bytes())
        context.add_folder("site", site.folder(wanted, base.python, base.architecture))
        context.add_folder("site/parcs", _PACKAGE)
        labels = description.labels_of_base()
        return self._ensure("parcs/python", context, {"BASE": base.name}, labels)

    def engine(self) -> Built:
        """The image of the engine server."""
        base, below = self._base(), self.python()
        wanted = site.own_requirements("docker", "requests", "urllib3")
        context = Context()
        context.add("Dockerfile", (_HERE / "engine" / "Dockerfile").read_bytes())
        context.add_folder("site", site.folder(wanted, base.python, base.architecture))
        return self._ensure("parcs/engine", context, {"BASE": below.pinned}, {})

    def hub(self) -> Built:
        """The image of hubs and executors."""
        base, below = self._base(), self.python()
        context = Context()
        context.add("Dockerfile", (_HERE / "hub" / "Dockerfile").read_bytes())
        wanted = site.own_requirements(*_HUB)
        context.add_folder("site", site.folder(wanted, base.python, base.architecture))
        return self._ensure("parcs/hub", context, {"BASE": below.pinned}, {})

    def database(self, patroni: str) -> Built:
        """The image of one server of a replicated PostgreSQL.

        Args:
            patroni: the version of Patroni.
        """
        base = self._base(DATABASE_BASE_VARIABLE)
        context = Context()
        context.add("Dockerfile", (_HERE / "database" / "Dockerfile").read_bytes())
        plain = [f"patroni=={patroni}", "python-etcd==0.4.5", "ydiff==1.4.2"]
        context.add_folder("site", site.folder(_PATRONI, base.python, base.architecture, plain))
        context.add_folder("site/parcs", _PACKAGE)
        return self._ensure("parcs/database", context, {"BASE": base.name}, {})

    def module(self, module: Module, *, is_pushed: bool = True) -> Built:
        """A module's image; built and pushed if anything in it has changed."""
        context, arguments = Context(), {}
        words = description.portable(module.command or module.main)
        if (module.folder / "Dockerfile").is_file():
            context.add_folder(".", module.folder)
            arguments["BASE"] = self.python().pinned
        elif golang.package(module.command or module.main):
            arguments |= self._add_golang(context, module, words)
        elif module.language not in ("", "python"):
            raise errors.ManifestError(
                f"{module.folder} is written in {module.language} and has no Dockerfile; give it one that starts "
                "with ARG BASE"
            )
        else:
            base = self._base()
            arguments["BASE"] = self.python().pinned
            context.add("Dockerfile", _dockerfile("module", words))
            context.add_folder(
                "site", site.folder(_requirements(module.folder), base.python, base.architecture)
            )
            context.add_folder("module", module.folder)
        labels = description.labels_of(module)
        return self._ensure(module.image or module.name, context, arguments, labels, is_pushed=is_pushed)

    def _add_golang(self, context: Context, module: Module, words: list[str]) -> dict[str, str]:
        """A module in Go, compiled here, or in an image that has Go; gives the build's arguments."""
        commands = [each for each in (module.command, module.runner) if golang.package(each)]
        base = os.environ.get(GO_VARIABLE) or ("" if golang.compiler() else DEFAULT_GO)
        context.add("Dockerfile", _dockerfile("golang-stages" if base else "golang", words))
        context.add_folder("module", module.folder)
        if base:
            context.add_folder("sdk", golang.sdk())
            programs = " ".join(f"{golang.program_name(each)}={golang.package(each)}" for each in commands)
            return {"GO": base, "PROGRAMS": programs, "SDK": golang.SDK}
        architecture = str(self._docker.get("/version")["Arch"])
        for each in commands:
            program = golang.build(module.folder, each, architecture)
            context.add(f"bin/{golang.program_name(each)}", program.read_bytes(), is_executable=True)
        return {}

    def _ensure(
        self,
        name: str,
        context: Context,
        arguments: dict[str, str],
        labels: dict[str, str],
        *,
        is_pushed: bool = True,
    ) -> Built:
        digest = context.digest(json.dumps(arguments), json.dumps(labels))
        reference = self.name(name, f"{VERSION}-{digest}" if name.startswith("parcs/") else digest)
        if (pinned := self._present(reference)) is not None:
            return Built(reference, pinned, False)
        self._tell(f"building {reference}")
        latest = self.name(name)
        credentials = {self._host: self.credentials} if self.credentials else None
        images.build(
            self._docker, context.tar(), [reference, latest], arguments, labels, credentials=credentials
        )
        if not self.registry or not is_pushed:
            return Built(reference, reference, True)
        self._tell(f"pushing {reference}")
        for each in (reference, latest):
            pushed = images.push(self._docker, each, self.credentials)
        return Built(reference, f"{images.repository(reference)}@{pushed}", True)

    def _present(self, reference: str) -> str | None:
        """The image by digest, if it is there already."""
        if not self.registry:
            return reference if images.inspect_local(self._docker, reference) else None
        try:
            return images.inspect_remote(self._docker, reference, self.credentials).pinned
        except errors.ImageMissingError:
            return None

    def _base(self, variable: str = BASE_VARIABLE) -> Base:
        """The image that ours begin with: PARCS_BASE, the registry's own copy, or Docker Hub's."""
        asked = os.environ.get(variable) or os.environ.get(BASE_VARIABLE)
        names = (
            [asked]
            if asked
            else [*([f"{self.registry}/{DEFAULT_BASE}"] if self.registry else []), DEFAULT_BASE]
        )
        for name in names[:-1]:
            if (found := self._look(name)) is not None:
                return found
        found = self._look(names[-1])
        if found is None:
            raise errors.ImageMissingError(
                names[-1], f"images begin with it; name another with {BASE_VARIABLE}"
            )
        return found

    def _look(self, name: str) -> Base | None:
        credentials = self.credentials if self._host and name.startswith(self._host) else None
        known = images.inspect_local(self._docker, name)
        if known is None:
            try:
                images.pull(self._docker, name, credentials)
            except errors.ImageMissingError:
                return None
            known = images.inspect_local(self._docker, name)
        return _describe(self._docker, name, known) if known else None


def _describe(docker: Docker, name: str, known: dict[str, Any]) -> Base:
    """Which Python an image has; asked once, as an image never changes."""
    kept = cache.folder() / "bases.json"
    try:
        memory = json.loads(kept.read_text())
    except (OSError, ValueError):
        memory = {}
    identity = known["Id"]
    if identity not in memory:
        script = "import sys; print('%d.%d' % sys.version_info[:2])"
        memory[identity] = containers.run(docker, identity, ["python3", "-c", script]).strip()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(memory))
    return Base(name, memory[identity], known.get("Architecture", "amd64"))


def _dockerfile(kind: str, command: list[str]) -> bytes:
    """The Dockerfile of a module without one of its own."""
    return ((_HERE / kind / "Dockerfile").read_text() + f"CMD {json.dumps(command)}\n").encode()


def _requirements(folder: Path) -> list[str]:
    """The lines of a module's requirements.txt."""
    file = folder / "requirements.txt"
    if not file.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]
