"""The engine server's container: ``python -m parcs.swarm``."""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from parcs.dockerapi import nodes
from parcs.dockerapi.client import Docker
from parcs.model import settings as options
from parcs.server import set_up_logging
from parcs.swarm import keys, names
from parcs.swarm.backend import SwarmBackend
from parcs.swarm.directory import Jobs
from parcs.swarm.relay import Relay
from parcs.swarm.resolve import Resolver
from parcs.swarm.server import SwarmServer

logger = logging.getLogger("parcs.engine")

_SECRET: Final = Path("/run/secrets") / names.ENGINE
_ASK_AGAIN_S: Final = 10.0


class OperatorToken:
    """The operators' token, worked out anew when the Swarm's join token may have been rotated."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self._asked, self._token = 0.0, b""

    def __call__(self) -> bytes:
        if time.monotonic() - self._asked > _ASK_AGAIN_S:
            self._token = keys.operator_token(nodes.manager_token(self._docker))
            self._asked = time.monotonic()
        return self._token


def tls_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """What a server shows to callers. Both are PEM texts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600; the library reads files only
        file.write(private_key + certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def main() -> None:
    """Serve until told to stop."""
    set_up_logging()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    secret = json.loads(_SECRET.read_text())
    settings = options.from_environment(os.environ)
    docker = Docker("unix:///var/run/docker.sock")
    jobs = Jobs(bytes.fromhex(secret["key"]), OperatorToken(docker))
    resolver = Resolver(
        docker,
        os.environ.get("PARCS_REGISTRY", ""),
        os.environ.get("PARCS_PYTHON_IMAGE", ""),
        secret.get("credentials", {}),
    )
    backend = SwarmBackend(
        docker,
        jobs,
        resolver,
        f"tcp://{names.ENGINE}:{names.INSIDE_PORT}",
        f"tcp://{names.ENGINE}:{names.RELAY_PORT}",
    )
    everywhere = "0.0.0.0"  # noqa: S104  # a container; nothing is served without a token
    server = SwarmServer(jobs, backend, settings, everywhere, names.INSIDE_PORT)
    relay = Relay(
        jobs.token,
        tls_context(secret["certificate"], secret["private_key"]),
        (everywhere, names.OUTSIDE_PORT),
        (everywhere, names.RELAY_PORT),
        ("127.0.0.1", names.INSIDE_PORT),
        settings,
    )
    logger.info("The engine server is up")
    over.wait()
    relay.close()
    server.close()


if __name__ == "__main__":
    main()
