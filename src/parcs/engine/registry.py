"""From a URL to an engine.

(nothing)         the engine of the job this program runs in; without one, this machine
local             this machine
tcp://host:port   the engine server there; PARCS_TOKEN has its token
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from parcs import errors
from parcs.channel import Endpoint, new_token
from parcs.contract import engine as contract
from parcs.engine.client import EngineClient, RemoteEngine
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
    if not url:
        _refuse_leader()
        url = "local"
    if url == "local":
        return _own_engine(endpoint)
    if not url.startswith("tcp://"):
        raise errors.SettingsError(f"no engine goes by {url!r}; there are: local, tcp://HOST:PORT")
    if endpoint is None:
        token = os.environ.get(contract.TOKEN_VARIABLE)
        if not token:
            raise errors.SettingsError(f"the engine at {url} wants a token: set {contract.TOKEN_VARIABLE}")
        # A second connection of one program is a program of its own to the engine.
        name = f"{os.environ.get(contract.POINT_VARIABLE, contract.RUNNER)}+{next(_connections)}"
        endpoint = Endpoint(name, token.encode(), options.from_environment(os.environ))
        return RemoteEngine(endpoint, EngineClient(endpoint, url), endpoint.close)
    return RemoteEngine(endpoint, EngineClient(endpoint, url))


def _refuse_leader() -> None:
    leader = os.environ.get("LEADER_URL")
    if leader:
        raise errors.EngineUnavailableError(
            f"LEADER_URL is {leader}: that is a Docker Swarm, and this version of PARCS runs points on this "
            "machine only; unset LEADER_URL to do that"
        )


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
