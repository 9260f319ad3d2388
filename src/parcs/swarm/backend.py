"""Points as containers of a Swarm: the engine server's backend there, put together from its parts.

    starter     from a request to a service
    waves       a large group, some at a time
    warm        points that wait
    lives       what becomes of them
    output      what they print
    recovery    what runs already, after a restart

Nothing is remembered that could not be read again from the labels of the services, so a server that was moved
to another manager carries on where the last one was.
"""

from __future__ import annotations

from parcs.contract import engine as contract
from parcs.dockerapi.client import Docker
from parcs.dockerapi.nodes import Node
from parcs.dockerapi.tasks import Task
from parcs.engine.server import Answer, EngineServer, Session
from parcs.engine.space import ControlSpace
from parcs.swarm.directory import Jobs
from parcs.swarm.lives import Lives
from parcs.swarm.output import Output
from parcs.swarm.recovery import Recovery
from parcs.swarm.resolve import Resolver
from parcs.swarm.starter import Starter
from parcs.swarm.state import State
from parcs.swarm.warm import WarmPoints
from parcs.swarm.waves import Waves


class SwarmBackend:
    """Starts modules as services.

    Args:
        docker: a manager's Engine.
        engine: where programs in the cluster find the server, as a URL.
        relay: where they call programs outside.
    """

    def __init__(self, docker: Docker, jobs: Jobs, resolver: Resolver, engine: str, relay: str) -> None:
        self._state = State(docker, jobs, resolver, engine, relay, self._on_watched)
        self.output = Output(self._state)
        self.lives = Lives(self._state, self.output)
        self.waves = Waves(self._state)
        self.starter = Starter(self._state, self.output, self.waves)
        self.warm_points = WarmPoints(self._state, self.output, self.lives, self.starter)
        self._recovery = Recovery(self._state, self.output, self.warm_points)

    @property
    def registry(self) -> str:
        """Where modules' images are looked for."""
        return self._state.resolver.registry

    def attach(self, server: EngineServer) -> None:
        self._state.attach(server)
        self._recovery.recover()
        self._state.watcher.start()

    def close(self) -> None:
        """Stop watching. Jobs go on: the next server finds them again."""
        self._state.watcher.close()
        self._state.workers.shutdown(wait=False, cancel_futures=True)

    def start(self, space: ControlSpace, request: contract.Start, creator: str) -> Answer:
        taken = self.warm_points.take(self._state.jobs.of(space.identity), request, creator)
        return taken if taken is not None else self.starter.start(space, request, creator)

    def stop(self, space: ControlSpace, name: str) -> None:
        self.lives.stop(space, name)

    def warm(self, space: ControlSpace, module: str, count: int) -> Answer:
        return self.warm_points.keep(space, module, count)

    def on_waiting(self, session: Session) -> None:
        self.warm_points.on_waiting(session)

    def on_gone(self, session: Session) -> None:
        self.warm_points.on_gone(session)

    def tick(self) -> None:
        self.lives.tick()

    def hurry(self) -> None:
        """Something is about to change: look often for a moment."""
        self._state.watcher.hurry(1.0)

    def _on_watched(self, found: list[Task], machines: list[Node], asked_at: float) -> None:
        def conclude() -> None:
            self.lives.take_watched(found, machines, asked_at)
            self.waves.go_on()

        self._state.server.call_soon(conclude)
