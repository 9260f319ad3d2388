"""PARCS: a control space of points and channels.

    Runner, Service, serve     what a program is made of (parcs.server has them too)
    connect, Engine, Point     starting points from any program, without a Runner
    Channel, wait_any          talking to them
    Pool, map_reduce           a loop's body on many points
    errors                     everything that can go wrong

Names are loaded when they are first used, so that `import parcs` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parcs.version import VERSION as __version__

if TYPE_CHECKING:
    from parcs import errors as errors
    from parcs.channel import Channel as Channel
    from parcs.channel import wait_any as wait_any
    from parcs.engine.base import Engine as Engine
    from parcs.engine.registry import connect as connect
    from parcs.point import Point as Point
    from parcs.pool import Pool as Pool
    from parcs.pool import map_reduce as map_reduce
    from parcs.server import serve as serve
    from parcs.service import Runner as Runner
    from parcs.service import Service as Service

_HOMES = {
    "Channel": "parcs.channel",
    "Engine": "parcs.engine.base",
    "Point": "parcs.point",
    "Pool": "parcs.pool",
    "Runner": "parcs.service",
    "Service": "parcs.service",
    "connect": "parcs.engine.registry",
    "map_reduce": "parcs.pool",
    "serve": "parcs.server",
    "wait_any": "parcs.channel",
}

__all__ = [
    "Channel",
    "Engine",
    "Point",
    "Pool",
    "Runner",
    "Service",
    "__version__",
    "connect",
    "errors",
    "map_reduce",
    "serve",
    "wait_any",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("parcs.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'parcs' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
