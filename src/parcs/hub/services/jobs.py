"""The jobs of the Swarm that a hub stands beside, asked of its engine server as the command line asks."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from parcs import errors
from parcs.contract import jobs as contract
from parcs.hub.services.cluster import Clusters

if TYPE_CHECKING:
    from parcs.swarm.remote import Remote

logger = logging.getLogger("parcs.hub")
Answer = TypeVar("Answer")
_LINES: Final = 2000
"""Lines of one answer: a page asks for the next ones."""


class Jobs:
    """The engine server's jobs. One session is kept, and made anew when the server has moved."""

    def __init__(self, cluster: Clusters) -> None:
        self._cluster = cluster
        self._remote: Remote | None = None
        self._lock = threading.Lock()

    async def list_all(self) -> list[contract.Job]:
        """All jobs that the engine server knows, the newest first."""

        def ask(remote: Remote) -> list[contract.Job]:
            return [_job(each) for each in sorted(remote.jobs(), key=lambda job: -float(job["created_at"]))]

        return await self._ask(ask, nothing=[])

    async def show(self, name: str) -> contract.JobDetail:
        """A job whole.

        Raises:
            NotFoundError: there is none.
        """

        def ask(remote: Remote) -> contract.JobDetail:
            found = remote.ps(name)
            programs = [_program(row) for row in found["rows"]]
            return contract.JobDetail(_job(found), programs, found["description"], _figures(found["summary"]))

        return await self._ask(ask)

    async def channels(self, name: str) -> list[contract.Flow]:
        """What its channels carry, those with the most bytes first.

        Raises:
            NotFoundError: there is no such job.
        """
        return await self._ask(lambda remote: remote.channels(name))

    async def lines(self, name: str, after: int) -> list[contract.Line]:
        """What its programs printed after a line's number, merged."""

        def ask(remote: Remote) -> list[contract.Line]:
            found: list[contract.Line] = []
            for line in remote.lines(name, is_following=False, after=after):
                found.append(contract.Line(*line))
                if len(found) == _LINES:
                    break
            return found

        return await self._ask(ask)

    async def start(self, request: contract.JobRequest) -> str:
        """Run a module of the registry; gives the job's name."""
        return await self._ask(
            lambda remote: str(remote.run(request.module, request.parameters, {})["job"]), is_deploying=True
        )

    async def stop(self, name: str) -> None:
        """End a job, and all its points."""
        await self._ask(lambda remote: remote.stop(name))

    async def forget(self, name: str) -> None:
        """Remove an ended job from the list."""
        await self._ask(lambda remote: remote.forget(name))

    def close(self) -> None:
        """End the session."""
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.close()

    async def _ask(
        self, work: Callable[[Remote], Answer], *, is_deploying: bool = False, nothing: Answer | None = None
    ) -> Answer:
        def do() -> Answer:
            with self._lock:
                if self._remote is not None:
                    try:
                        return work(self._remote)
                    except (errors.EngineUnavailableError, errors.ChannelError):
                        self.close()  # the engine server has moved, or was updated
                remote = self._open(is_deploying=is_deploying)
                if remote is None:
                    if nothing is not None:
                        return nothing
                    raise errors.NotFoundError("no job has run on this Swarm yet")
                self._remote = remote
                return work(remote)

        try:
            return await self._cluster.run(do)
        except errors.ImageMissingError as error:
            raise errors.InvalidRequestError(str(error), "module") from error
        except errors.EngineError as error:
            if "there is no job" in str(error):
                raise errors.NotFoundError(str(error)) from error
            raise

    def _open(self, *, is_deploying: bool) -> Remote | None:
        """A session; None where there is no engine server, and none is to be put there."""
        from parcs.model import settings
        from parcs.swarm import deploy
        from parcs.swarm.remote import Remote

        docker = self._cluster.engine()
        if is_deploying:
            access = deploy.ensure(docker, _tell, self._cluster.registry)
        elif deploy.find(docker) is None:
            return None
        else:
            access = deploy.find_access(docker)
        return Remote(access, settings.from_environment(os.environ))


def _tell(line: str) -> None:
    logger.info("%s", line)


def _job(found: dict[str, Any]) -> contract.Job:
    names = ("job", "module", "state", "points", "created_at", "ended_at", "exit_code", "result", "why")
    return contract.Job(*(found[name] for name in names))


def _figures(summary: dict[str, Any] | None) -> contract.Figures | None:
    if summary is None:
        return None
    return contract.Figures(**{name: summary[name] for name in contract.Figures.__dataclass_fields__})


def _program(row: dict[str, Any]) -> contract.Program:
    ending = row["ending"] or {}
    why = ""
    if row["state"] == "failed":
        signal = f"signal {ending['signal']}" if ending.get("signal") else f"status {ending.get('exit_code')}"
        why = str(ending.get("reason") or signal)
    return contract.Program(
        row["name"], row["module"], row["creator"] or "", row["state"], row["node"] or "", row["launcher"],
        row["language"] or "", row["cpu_s"], row["memory"], why, row["stages"], row["ended_at"],
    )  # fmt: skip
