"""``parcs lab``: a Swarm on this machine."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from parcs import errors
from parcs.cli import output

app = typer.Typer(
    no_args_is_help=True,
    help="A real Docker Swarm of several nodes on this Linux machine, for development and teaching (root).",
)

Name = Annotated[str, typer.Option("--name", help="The lab's name; several can be up at once.")]
Node = Annotated[str, typer.Argument(help="A node, as node2.")]


@app.command()
def up(
    nodes: Annotated[int, typer.Option("--nodes", "-n", min=1, help="How many machines.")] = 3,
    managers: Annotated[int, typer.Option("--managers", "-m", min=1, help="How many are managers.")] = 1,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="Pretend that each node has so many GPUs.")] = 0,
    has_password: Annotated[
        bool, typer.Option("--password", help="Have the registry want a user and a password.")
    ] = False,
    name: Name = "lab",
) -> None:
    """Bring a lab up, and say how to use it."""
    from parcs.lab import Lab, Plan

    password = secrets.token_urlsafe(12) if has_password else ""
    lab = Lab.up(name, Plan(nodes, managers, gpus, password), lambda line: print(line, file=sys.stderr))
    print(f"export DOCKER_HOST={lab.url}")
    print(f"export PARCS_REGISTRY={lab.registry}")
    if password:
        print(f"export DOCKER_CONFIG={lab.docker_config}")
    print("set these, then: parcs run factor --on swarm", file=sys.stderr)


@app.command()
def status(name: Name = "lab", as_json: output.AsJson = False) -> None:
    """Show a lab's nodes."""
    from parcs.lab import Lab

    found = Lab.find(name)
    rows = found.status()
    if as_json:
        output.print_json({"registry": found.registry, "nodes": rows})
        return
    print(f"registry {found.registry}")
    output.print_table(list(rows[0]), [list(row.values()) for row in rows])


@app.command()
def down(name: Name = "lab") -> None:
    """Take a lab down; nothing of it is left but the base image."""
    from parcs.lab import Lab

    Lab.find(name).down()


@app.command()
def cut(node: Node, name: Name = "lab") -> None:
    """Pull a node's network cable."""
    from parcs.lab import Lab

    Lab.find(name).cut(node)


@app.command()
def heal(node: Node, name: Name = "lab") -> None:
    """Plug it in again; take delay and loss away; start the node again if it was killed."""
    from parcs.lab import Lab

    Lab.find(name).heal(node)


@app.command()
def slow(
    node: Node,
    delay: Annotated[str, typer.Option("--delay", help="As 20ms.")] = "",
    loss: Annotated[str, typer.Option("--loss", help="As 1%.")] = "",
    name: Name = "lab",
) -> None:
    """Delay and lose packets to and from a node."""
    from parcs.lab import Lab

    if not delay and not loss:
        raise errors.LabError("say how slow: --delay 20ms, --loss 1%, or both; parcs lab heal takes it away")
    Lab.find(name).slow(node, delay, loss)


@app.command()
def kill(node: Node, name: Name = "lab") -> None:
    """End a node's Docker Engine and containers at once, as a power failure does."""
    from parcs.lab import Lab

    Lab.find(name).kill(node)


@app.command()
def restart(node: Node, name: Name = "lab") -> None:
    """Stop a node's Docker Engine in good order and start it again."""
    from parcs.lab import Lab

    Lab.find(name).restart_engine(node)
