"""From a URL to a Swarm's engine server, for programs and people outside the cluster.

swarm                     the Docker Engine that ``docker`` would use (DOCKER_HOST, DOCKER_CONTEXT, current context)
swarm://NAME              the Docker context NAME
swarm+tcp://HOST:PORT     that Docker Engine; also swarm+unix://PATH and swarm+ssh://USER@HOST
tls://HOST:PORT           an engine server itself, without Docker: PARCS_TOKEN and PARCS_CERTIFICATE say the rest
                          (see: parcs engine access)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from parcs import errors
from parcs.contract import engine as contract
from parcs.engine.remote import RemoteEngine
from parcs.model import address as addresses
from parcs.model import settings as options
from parcs.swarm.remote import Access, Remote

if TYPE_CHECKING:
    from parcs.dockerapi.client import Docker

logger = logging.getLogger("parcs")


def is_swarm(url: str) -> bool:
    """Whether a URL names an engine of this kind."""
    return url == "swarm" or url.startswith(("swarm://", "swarm+", "tls://"))


def docker_of(url: str) -> Docker:
    """The Docker Engine that a URL names.

    Raises:
        SettingsError: it names none.
        DockerUnavailableError: it does not answer.
    """
    from parcs.dockerapi.client import Docker

    if url in ("swarm", "swarm://"):
        return Docker()
    if url.startswith("swarm+"):
        return Docker(url.removeprefix("swarm+"))
    if url.startswith("swarm://"):
        return Docker(url.removeprefix("swarm://"))
    raise errors.SettingsError(
        f"{url!r} names no Docker Engine; it should look like swarm, swarm://CONTEXT or swarm+ssh://user@host"
    )


def access(url: str, tell: Callable[[str], None], *, is_deploying: bool = True) -> Access:
    """The way to the engine server, which is deployed if it is not there yet and ``is_deploying``.

    Raises:
        SettingsError, SwarmError, DockerError: there is none to be had.
    """
    if not url.startswith("tls://"):
        from parcs.swarm import deploy

        docker = docker_of(url)
        return deploy.ensure(docker, tell) if is_deploying else deploy.find_access(docker)
    token, fingerprint = (
        os.environ.get(name, "") for name in (contract.TOKEN_VARIABLE, contract.CERTIFICATE_VARIABLE)
    )
    if not token or not fingerprint:
        raise errors.SettingsError(
            f"an engine server at {url} wants {contract.TOKEN_VARIABLE} and {contract.CERTIFICATE_VARIABLE}; "
            "somebody who may use the Swarm gets them with: parcs engine access"
        )
    return Access(addresses.parse(url), fingerprint, token.encode())


def remote(url: str, tell: Callable[[str], None], *, is_deploying: bool = True) -> Remote:
    """A session with the engine server."""
    return Remote(access(url, tell, is_deploying=is_deploying), options.from_environment(os.environ))


def connect(url: str) -> RemoteEngine:
    """An engine for this program; what `parcs.connect` gives for such a URL."""
    name = os.path.basename(sys.argv[0]).partition(".")[0] or "python"
    return remote(url, _tell).open_engine(name)


def _tell(line: str) -> None:
    logger.info("%s", line)
