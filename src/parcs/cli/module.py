"""``parcs module``: modules as images, and the registry that holds them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcs import errors
from parcs.cli import output, target

if TYPE_CHECKING:
    from parcs.image.build import Builder
    from parcs.image.repository import Repository

app = typer.Typer(no_args_is_help=True, help="Modules as images: build, push, list, inspect, remove.")

Folder = Annotated[str, typer.Argument(help="A module's folder, or its name on the search path.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="A module in the registry.")]


@app.command()
def build(folder: Folder, on: target.On = None) -> None:
    """Build a module's image with the Swarm's Docker Engine; pushes nothing."""
    _build(folder, on, is_pushed=False)


@app.command()
def push(folder: Folder, on: target.On = None) -> None:
    """Build a module's image, if anything in it has changed, and push it to the registry."""
    _build(folder, on, is_pushed=True)


@app.command("ls")
def list_all(on: target.On = None, as_json: output.AsJson = False) -> None:
    """List what the registry holds."""
    repository = _repository(on)
    rows = [entry for name in repository.names() for entry in repository.tags(name)]
    if as_json:
        output.print_json(rows)
    elif not rows:
        print(f"{repository.registry} holds no modules yet; push one with: parcs module push DIR")
    else:
        columns = ["module", "tag", "digest", "size", "language", "parameters"]
        output.print_table(
            columns,
            [
                (
                    r["name"],
                    r["tag"],
                    r["digest"][7:19],
                    _size(r["size"]),
                    r["language"],
                    ", ".join(r["parameters"]),
                )
                for r in rows
            ],
        )


@app.command()
def inspect(reference: Reference, on: target.On = None, as_json: output.AsJson = False) -> None:
    """Show everything about a module in the registry."""
    found = _repository(on).inspect(*_split(reference))
    if as_json:
        output.print_json(found)
        return
    for key in ("name", "tag", "digest", "platform", "description", "language", "command", "runner", "needs"):
        print(f"{key:<12} {found[key] or '-'}")
    print(f"{'size':<12} {_size(found['size'])}")
    rows = [
        (n, p.get("type", ""), p.get("default") or "-", p.get("help", ""))
        for n, p in found["parameters"].items()
    ]
    if rows:
        output.print_table(["parameter", "type", "default", "meaning"], rows)


@app.command("rm")
def remove(reference: Reference, on: target.On = None) -> None:
    """Remove a module's tag, and the image it stands for, from the registry."""
    digest = _repository(on).remove(*_split(reference))
    print(f"removed {reference} ({digest[7:19]})")


def _build(folder: str, on: str | None, *, is_pushed: bool) -> None:
    from parcs.job import find_module

    found = find_module(folder)
    builder = _builder(on)
    if is_pushed and not builder.registry:
        raise errors.SettingsError("there is no registry to push to; name one: PARCS_REGISTRY=HOST:PORT")
    begin = time.monotonic()
    built = builder.module(found, is_pushed=is_pushed)
    took = f"{time.monotonic() - begin:.1f} s" if built.is_new else "nothing has changed"
    print(f"{built.pinned if is_pushed else built.reference} ({took})")


def _builder(on: str | None) -> Builder:
    docker = target.docker(on)
    from parcs.image.build import Builder

    return Builder(docker, _registry(docker), target.tell)


def _registry(docker: Any) -> str:
    """The registry meant; a Docker Engine that is no manager cannot be asked which one the Swarm uses."""
    from parcs.swarm import deploy

    try:
        service = deploy.find(docker)
    except errors.DockerError:
        service = None
    return deploy.registry_of(service)


def _repository(on: str | None) -> Repository:
    docker = target.docker(on)
    from parcs.image.repository import Repository

    registry = _registry(docker)
    if not registry:
        raise errors.SettingsError("there is no registry; name one: PARCS_REGISTRY=HOST:PORT")
    return Repository(docker, registry)


def _split(reference: str) -> tuple[str, str]:
    head, slash, tail = reference.rpartition("/")
    name, _, tag = tail.partition(":")
    return f"{head}{slash}{name}", tag or "latest"


def _size(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
