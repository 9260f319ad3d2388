"""From a URL to an engine.

(nothing)         the engine of the job this program runs in; without one, this machine
local             this machine
tcp://host:port   the engine server there; PARCS_TOKEN has its token
swarm…, tls://…   a Docker Swarm (swarm/outside.py has all forms). Without a URL, LEADER_URL names a manager's
                  Docker Engine, as in the original
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from pathlib import Path

from parcs import errors
from parcs.channel import Endpoint, new_token
from parcs.contract import engine as contract
from parcs.engine.client import EngineClient
from parcs.engine.remote import RemoteEngine
from parcs.model import settings as options

_connections = itertools.count(1)


def connect(url: str | None = None, *, endpoint: Endpoint | None = None) -> RemoteEngine:
    """The engine at ``url``; see the head of this module for what a URL can be.

    Args:
        endpoint: this program's end of its channels, if it has one already.

    Raises:
        SettingsError: no engine goes by such a URL.
        EngineUnavailableError: nothing answers there.
    """
    url = url or os.environ.get(contract.ENGINE_VARIABLE, "")
    leader = os.environ.get("LEADER_URL", "")
    if not url and leader:
        url = f"swarm+{leader}"
    url = url or "local"
    if url == "local":
        return _own_engine(endpoint)
    if url.startswith(("swarm", "tls://")):
        return _swarm_engine(url)
    if not url.startswith("tcp://"):
        raise errors.SettingsError(
            f"no engine goes by {url!r}; there are: local, swarm, swarm://CONTEXT, swarm+ssh://USER@HOST, "
            "tls://HOST:PORT, tcp://HOST:PORT"
        )
    if endpoint is None:
        token = os.environ.get(contract.TOKEN_VARIABLE)
        if not token:
            raise errors.SettingsError(f"the engine at {url} wants a token: set {contract.TOKEN_VARIABLE}")
        # A second connection of one program is a program of its own to the engine.
        name = f"{os.environ.get(contract.POINT_VARIABLE, contract.RUNNER)}+{next(_connections)}"
        endpoint = Endpoint(name, token.encode(), options.from_environment(os.environ))
        return RemoteEngine(endpoint, EngineClient(endpoint, url), endpoint.close)
    return RemoteEngine(endpoint, EngineClient(endpoint, url))


def _swarm_engine(url: str) -> RemoteEngine:
    """Found by name, because the room for it stands above this one, and needs libraries of its own."""
    try:
        outside = importlib.import_module("parcs.swarm.outside")
    except ModuleNotFoundError as error:
        raise errors.SettingsError(
            f"running on a Swarm needs {error.name}, which is not installed: pip install 'parcs[swarm]'"
        ) from None
    engine: RemoteEngine = outside.connect(url)
    return engine


def _own_engine(endpoint: Endpoint | None) -> RemoteEngine:
    """An engine of this program's own: its server is a thread here, and ends with it."""
    from parcs.engine.local import LocalEngineServer
    from parcs.module import find

    main = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = [Path(main).resolve().parent] if main else []
    settings = options.from_environment(os.environ)
    close_endpoint = endpoint is None
    if endpoint is None:
        endpoint = Endpoint(contract.RUNNER, new_token(), settings)
    server = LocalEngineServer(find.search_path(os.environ, *beside), settings, token=endpoint.token)
    client = EngineClient(endpoint, str(server.server.address))

    def close() -> None:
        server.close()
        if close_endpoint:
            endpoint.close()

    return RemoteEngine(endpoint, client, close, server.space.summary)
