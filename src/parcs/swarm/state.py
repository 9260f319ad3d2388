"""What the parts of the Swarm backend share: the way to Docker, the jobs, what runs where.

Everything that changes a job happens on the server's thread. What asks Docker, and may take long while a Swarm
elects a leader, happens on threads of a pool, and comes back through `call_soon`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from parcs import errors
from parcs.channel import waiting
from parcs.dockerapi.client import Docker
from parcs.dockerapi.nodes import Node
from parcs.engine.server import EngineServer
from parcs.swarm.directory import Jobs
from parcs.swarm.job import Group, Job
from parcs.swarm.resolve import Resolver
from parcs.swarm.watch import Deliver, Watcher

SUSPECT_S: Final = 60.0
"""How long a machine that did not answer gets no new points."""
HURRY_S: Final = 5.0
"""How long Swarm is asked often after a request to start something."""
_THREADS: Final = 16


class State:
    """One backend's.

    Args:
        engine: where programs in the cluster find the server, as a URL.
        relay: where they call programs outside.
        deliver: takes what the watcher sees.

    Attributes:
        groups: every group that has a service, by key.
        suspects: until when machines that did not answer get no new points, by node id.
    """

    def __init__(
        self, docker: Docker, jobs: Jobs, resolver: Resolver, engine: str, relay: str, deliver: Deliver
    ) -> None:
        self.docker, self.jobs, self.resolver, self.engine, self.relay = docker, jobs, resolver, engine, relay
        self.workers = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"{waiting.OWN_THREAD}docker")
        self.groups: dict[str, tuple[Job, Group]] = {}
        self.nodes: dict[str, Node] = {}
        self.suspects: dict[str, float] = {}
        self.watcher = Watcher(docker, deliver)
        self._server: EngineServer | None = None

    @property
    def server(self) -> EngineServer:
        """The server that all of it is for."""
        assert self._server is not None
        return self._server

    def attach(self, server: EngineServer) -> None:
        """The server is up."""
        self._server = server

    def in_background(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        future: Future[Any],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Do ``work`` on a thread of the pool, then ``then`` with its result on the server's thread."""

        def done(result: Future[Any]) -> None:
            def finish() -> None:
                error = result.exception()
                try:
                    if error is None:
                        then(result.result())
                        return
                except errors.ParcsError as failure:
                    error = failure
                failed()
                future.set_exception(error)

            self.server.call_soon(finish)

        self.workers.submit(work).add_done_callback(done)
