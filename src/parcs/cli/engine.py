"""``parcs engine``: the server that starts points on a Swarm."""

from __future__ import annotations

from typing import Annotated

import typer

from parcs.cli import output, target

app = typer.Typer(no_args_is_help=True, help="The engine server of a Swarm: deploy, upgrade, look, remove.")

Registry = Annotated[
    str,
    typer.Option(
        "--registry",
        metavar="HOST[:PORT][/TEAM]",
        help="Where images of modules go; all nodes must reach it.",
        show_default="PARCS_REGISTRY, or the one named before",
    ),
]


@app.command()
def up(on: target.On = None, registry: Registry = "") -> None:
    """Put this version's engine server on a Swarm, or bring the one there to this version. Jobs go on."""
    docker = target.docker(on)
    from parcs.swarm import deploy

    access = deploy.up(docker, target.tell, registry)
    print(f"the engine server answers at {access.address}")


@app.command()
def status(on: target.On = None, as_json: output.AsJson = False) -> None:
    """Say which engine server a Swarm has, and how it is."""
    docker = target.docker(on)
    from parcs.swarm import deploy

    found = deploy.state(docker)
    if as_json:
        output.print_json(found._asdict() if found else None)
    elif found is None:
        print("no engine server here yet; put one there with: parcs engine up")
    else:
        output.print_table(["", ""], [(key, value or "-") for key, value in found._asdict().items()])


@app.command()
def access(on: target.On = None) -> None:
    """Print what a program needs that may not use Docker here. It holds a secret: whoever has it may run jobs."""
    from parcs.swarm import outside

    url = target.url_of(on) or "swarm"
    target.check(url)
    found = outside.access(url, target.tell, is_deploying=False)
    print(f"export PARCS_ENGINE={found.address}")
    print(f"export PARCS_TOKEN={found.token.decode()}")
    print(f"export PARCS_CERTIFICATE={found.fingerprint}")


@app.command()
def down(on: target.On = None) -> None:
    """Remove the engine server, and with it every job."""
    docker = target.docker(on)
    from parcs.swarm import deploy

    print("removed" if deploy.down(docker) else "there was none")
