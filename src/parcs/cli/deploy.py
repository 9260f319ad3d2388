"""``parcs deploy`` and ``parcs undeploy``: hubs and executors on a Swarm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parcs import errors
from parcs.cli import output, place, target
from parcs.cli.engine import Registry


def deploy(
    on: target.On = None,
    database_file: Annotated[
        Path | None,
        typer.Option(
            "--database-file",
            metavar="FILE",
            help="Has the DSN of a PostgreSQL of yours; it becomes a secret of the Swarm.",
            show_default="as it is, else one of three servers is deployed too",
        ),
    ] = None,
    executors: Annotated[
        int | None,
        typer.Option(
            "--executors",
            min=0,
            help="How many, on different nodes; 0 is one on every node.",
            show_default="as it is, else one on every node",
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            min=0,
            help="Tasks at once of each.",
            show_default="as it is, else the node's processors",
        ),
    ] = None,
    drain_s: Annotated[
        int,
        typer.Option("--drain", min=1, metavar="SECONDS", help="For what an executor that goes still runs."),
    ] = 600,
    manages: Annotated[
        bool | None,
        typer.Option(
            "--manage-swarm/--no-manage-swarm",
            help="Hubs show and change the Swarm itself: nodes, services, stacks, jobs. They are given their "
            "managers' Docker sockets, so whoever is an admin of a hub, or breaks into one, is root there.",
            show_default="as it is, else not",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start all of it anew, one after another, as it is.")
    ] = False,
    registry: Registry = "",
    status: Annotated[bool, typer.Option("--status", help="Only say what is there, and how it is.")] = False,
    as_json: output.AsJson = False,
) -> None:
    """Put a hub on every manager of a Swarm, and executors on its nodes; or bring them to this version.

    With them comes a replicated PostgreSQL on three nodes, unless you name one. Hubs are updated one after another.
    Executors that go, or are updated, finish what they run first.
    """
    docker = target.docker(on)
    from parcs.deploy import cluster

    if status:
        found = cluster.parts(docker)
        if as_json:
            output.print_json([part._asdict() for part in found])
        elif not found:
            print("no hubs here yet; put them there with: parcs deploy")
        else:
            output.print_table(["service", "node", "state", "version", "error"], found)
        return
    for module, extra in (("fastapi", "hub"), ("psycopg", "postgresql")):
        place.need(module, extra)  # what hubs run with there is what is installed here
    try:
        database = database_file.read_text().strip() if database_file else None
    except OSError as error:
        raise errors.SettingsError(f"--database-file: {error}") from error
    if database is not None and not database.startswith(("postgresql://", "postgres://")):
        raise errors.SettingsError(f"{database_file} has no DSN like postgresql://USER:PASSWORD@HOST/NAME")
    wanted = cluster.Wanted(database, executors, slots, drain_s, restart, manages)
    made = cluster.deploy(docker, wanted, target.tell, registry)
    print(f"hubs: {','.join(made.urls)}")
    if made.token:
        target.tell("an admin's token, not shown again; keep it with: parcs login " + ",".join(made.urls))
        print(f"token: {made.token}")


def undeploy(
    on: target.On = None,
    database: Annotated[
        bool,
        typer.Option("--database", help="The servers of the database too; their data stay on the nodes."),
    ] = False,
) -> None:
    """Remove hubs and executors from a Swarm. The database stays as it is, and parcs deploy finds it again."""
    docker = target.docker(on)
    from parcs.deploy import cluster
    from parcs.deploy import database as servers

    was_any = cluster.undeploy(docker, target.tell)
    if database:
        was_any = servers.remove(docker, target.tell) or was_any
    print("removed" if was_any else "there were none")
