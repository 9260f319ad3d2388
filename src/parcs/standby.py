"""A warm point before it is anybody's: it waits at its engine server until a creator wants it.

The answer is the environment of a point that was started for that creator, which this program then is.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from parcs import errors
from parcs.channel import Endpoint
from parcs.contract import engine as contract
from parcs.model import address as addresses
from parcs.model import settings as options

_SERVER_S: Final = 600.0
"""How long a cluster's engine server may be away."""
_RETRY_S: Final = 0.3


def wait_to_be_taken(name: str) -> None:
    """Wait as ``name``, then change this program's environment to what its creator asked for.

    Raises:
        SystemExit: nobody wants it any more.
    """
    environment = os.environ
    endpoint = Endpoint(
        name,
        environment[contract.TOKEN_VARIABLE].encode(),
        options.from_environment(environment),
        space=environment.get(contract.SPACE_VARIABLE, ""),
    )
    try:
        message = _await_take(endpoint, environment[contract.ENGINE_VARIABLE])
    finally:
        endpoint.close()
    environment.update({str(key): str(value) for key, value in message["environment"].items()})
    del environment[contract.WARM_VARIABLE]
    for variable in (contract.SLOT_VARIABLE, contract.FIRST_VARIABLE):
        environment.pop(variable, None)  # its number among those that waited
    environment[contract.POINT_VARIABLE] = str(message["point"])
    environment[contract.CALL_VARIABLE] = str(message["call"])


def _await_take(endpoint: Endpoint, url: str) -> dict[str, Any]:
    patience_s = 0.0 if addresses.parse(url).is_here else _SERVER_S
    deadline = time.monotonic() + patience_s
    while True:
        try:
            channel = endpoint.dial(url, "warm", endpoint.name, "engine")
            message: dict[str, Any] = channel.recv()
            channel.close()
            if message.get("event") != "take":
                raise SystemExit(0)  # it is wanted no more
            return message
        except errors.ChannelError:
            if time.monotonic() >= deadline:
                raise SystemExit(0) from None  # nobody will want it any more
        time.sleep(_RETRY_S)
