"""Where a command goes: ``--on``, PARCS_ENGINE, or LEADER_URL."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from parcs import errors
from parcs.contract import engine as contract

if TYPE_CHECKING:
    from parcs.dockerapi.client import Docker
    from parcs.swarm.remote import Remote

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ENGINE",
        help="Where to run: local, swarm (Docker's current context), swarm://CONTEXT, swarm+ssh://USER@HOST, …",
        show_default="PARCS_ENGINE, or this machine",
    ),
]


def url_of(on: str | None) -> str:
    """The engine meant; empty for this machine."""
    leader = os.environ.get("LEADER_URL", "")
    url = on or os.environ.get(contract.ENGINE_VARIABLE, "") or (f"swarm+{leader}" if leader else "")
    return "" if url == "local" else url


def is_cluster(url: str) -> bool:
    """Whether it is a Swarm's."""
    return url.startswith(("swarm", "tls://"))


def remote(on: str | None) -> Remote:
    """A session with the engine server of the Swarm meant; Docker's current context if nothing is said."""
    url = url_of(on) or "swarm"
    check(url)
    from parcs.swarm import outside

    return outside.remote(url, tell, is_deploying=False)


def docker(on: str | None) -> Docker:
    """The Docker Engine of the Swarm meant."""
    url = url_of(on) or "swarm"
    check(url)
    from parcs.swarm import outside

    return outside.docker_of(url)


def check(url: str) -> None:
    """Refuse in words what cannot be.

    Raises:
        SettingsError: it is no Swarm, or the libraries for it are not installed.
    """
    if not is_cluster(url):
        raise errors.SettingsError(f"{url!r} is no Swarm; for example: --on swarm, or --on swarm://CONTEXT")
    if url.startswith("tls://"):
        return  # needs no Docker
    try:
        importlib.import_module("docker")
        importlib.import_module("cryptography")
    except ModuleNotFoundError as error:
        raise errors.SettingsError(
            f"this needs {error.name}, which is not installed: pip install 'parcs[swarm]'"
        ) from None


def tell(line: str) -> None:
    """A step that takes a while."""
    print(line, file=sys.stderr, flush=True)
