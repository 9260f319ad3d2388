"""What people ask of an engine server: the command line's side of it. Knows nothing of Docker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from parcs.channel import Endpoint
from parcs.channel.lines import Lines
from parcs.contract.jobs import Flow
from parcs.engine.client import EngineClient
from parcs.engine.remote import RemoteEngine
from parcs.model.address import Address
from parcs.model.settings import Settings
from parcs.swarm import names
from parcs.swarm.job import Line

_WAIT_S = 20.0


class Access(NamedTuple):
    """The way to an engine server from outside. ``token`` is an operator's."""

    address: Address
    fingerprint: str
    token: bytes


class Remote:
    """A session with an engine server, as an operator. A context manager."""

    def __init__(self, access: Access, settings: Settings) -> None:
        self._access, self._settings = access, settings
        self._endpoint = Endpoint("operator", access.token, settings, space=names.OPERATOR_SPACE)
        self._endpoint.fingerprint = access.fingerprint
        self._client = EngineClient(self._endpoint, str(access.address))

    def about(self) -> dict[str, Any]:
        """Which PARCS it is, and where."""
        return self._client.request("about")

    def run(
        self,
        module: str,
        environment: Mapping[str, str],
        resources: Mapping[str, Any],
        aliases: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a module's runner in the cluster; gives ``job``, its name, and ``image``.

        Args:
            aliases: images that stand for names of modules the runner starts.
        """
        return self._client.request(
            "run",
            module=module,
            environment=dict(environment),
            resources=dict(resources),
            aliases=dict(aliases or {}),
        )

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs it knows of."""
        found: list[dict[str, Any]] = self._client.request("jobs")["jobs"]
        return found

    def ps(self, job: str) -> dict[str, Any]:
        """One job: its state, result, summary, and ``rows``, its programs."""
        return self._client.request("ps", job=job)

    def channels(self, job: str) -> list[Flow]:
        """What a job's channels carry, those with the most bytes first."""
        return [Flow(**row) for row in self._client.request("channels", job=job)["channels"]]

    def lines(self, job: str, *, is_following: bool, after: int = 0) -> Iterator[Line]:
        """The job's output; following goes on until it is over."""
        while True:
            answer = self._client.request(
                "logs", job=job, after=after, wait_s=_WAIT_S if is_following else 0.0
            )
            for item in answer["lines"]:
                line = Line(*item)
                after = line.number
                yield line
            if answer["is_over"] or (not is_following and not answer["lines"]):
                return

    def stop(self, job: str) -> str:
        """End a job; gives its whole name."""
        return str(self._client.request("halt", job=job)["job"])

    def forget(self, job: str) -> str:
        """Remove an ended job from the list; gives its whole name."""
        return str(self._client.request("forget", job=job)["job"])

    def sweep(self) -> list[str]:
        """Remove what is left of jobs that are gone; gives the services' names."""
        return [str(name) for name in self._client.request("sweep")["removed"]]

    def warm(self, module: str, count: int) -> dict[str, Any]:
        """Keep ``count`` points of a module waiting (0: no more)."""
        return self._client.request("warm", module=module, count=count)

    def open_engine(self, name: str) -> RemoteEngine:
        """An engine for this program itself: a job whose runner is outside the cluster."""
        opened = self._client.request("open", name=name)
        endpoint = Endpoint(
            "runner", str(opened["token"]).encode(), self._settings, space=str(opened["space"])
        )
        endpoint.fingerprint = self._access.fingerprint
        endpoint.called_at = f"tcp://{names.ENGINE}:{names.RELAY_PORT}"
        client = EngineClient(endpoint, str(self._access.address))
        lines = Lines(endpoint, self._access.address, self._access.fingerprint)
        self.close()
        return RemoteEngine(endpoint, client, endpoint.close, lines=lines)

    def close(self) -> None:
        """End the session."""
        self._client.close()
        self._endpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
