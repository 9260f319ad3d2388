"""``from parcs.server import Service, Runner, serve``: the import path of the original."""

from parcs.program import serve
from parcs.service import Runner, Service

__all__ = ["Runner", "Service", "serve"]
