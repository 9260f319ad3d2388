"""A hub over HTTP, for programs: `Hub` (blocking), `AsyncHub`, and `TaskExecutor` (concurrent.futures).

from parcs.client import Hub

with Hub() as hub:
    task = hub.submit("echo hello")
    print(hub.wait(task.first).task.state, hub.output(task.first))
"""

from parcs.client.futures import TaskExecutor
from parcs.client.hub import AsyncHub, Hub
from parcs.client.place import Place, find

__all__ = ["AsyncHub", "Hub", "Place", "TaskExecutor", "find"]
