"""The engine server of a Swarm: the same protocol as everywhere, for many jobs, and what people ask of it.

Programs of a job may do what any program may. Operators (people who may administer the Swarm) may also:

    about     which PARCS this is
    open      a job for a program outside: gives its control space and token
    run       run a module's runner in the cluster
    jobs, ps  the jobs; the points of one
    channels  what the channels of a job carry, and who waits there
    logs      lines of output after a number, waiting for them a while
    warm      keep points of a module waiting for every job
    halt      stop a job
    forget    remove an ended job from the list
    sweep     remove what is left of jobs that are gone
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from parcs import errors
from parcs.contract.engine import NODE_VARIABLE, RUNNER, parse_usage, parse_warm
from parcs.engine.server import Answer, EngineServer, Session
from parcs.swarm import names
from parcs.swarm.backend import SwarmBackend
from parcs.swarm.directory import Jobs
from parcs.swarm.job import Job
from parcs.version import VERSION

_LINES: Final = 1000


class SwarmServer(EngineServer):
    """Serves all jobs of a Swarm."""

    directory: Jobs
    _backend: SwarmBackend

    def _perform(self, session: Session, request: dict[str, Any]) -> Answer:
        if session.space.hex() == names.OPERATOR_SPACE:
            return self._perform_for_people(request)
        job = self.directory.of(session.space.hex())
        if session.program == RUNNER:
            job.absent_since = None
        verb = request.get("do")
        if verb == "called":
            for name in request.get("points", []):
                found = job.find(str(name))
                if found is not None:
                    found[1].stages.setdefault("called", time.time())
            return {}
        if verb == "lost":
            self._backend.starter.suspect(job, str(request.get("point", "")))
            return {}
        if verb == "usage":
            job.note_usage(session.program, parse_usage(request))
            return {}
        return super()._perform(session, request)

    def _perform_for_people(self, request: dict[str, Any]) -> Answer:
        verb = str(request.get("do"))
        if verb in _FOR_PEOPLE:
            return _FOR_PEOPLE[verb](self, request)
        if verb in _FOR_ONE_JOB:
            return _FOR_ONE_JOB[verb](self, self.directory.named(str(request.get("job", ""))), request)
        raise errors.EngineError(f"there is no request {verb!r}")

    def _about(self, request: dict[str, Any]) -> Answer:
        return {
            "version": VERSION,
            "registry": self._backend.registry,
            "node": os.environ.get(NODE_VARIABLE, ""),
        }

    def _open(self, request: dict[str, Any]) -> Answer:
        job = self._backend.starter.open_job(str(request.get("name", "outside")), "", names.OWNER_OUTSIDE)
        job.absent_since = time.monotonic()
        token = self.directory.token(bytes.fromhex(job.space.identity))
        return {"job": job.name, "space": job.space.identity, "token": token.decode()}

    def _run_job(self, request: dict[str, Any]) -> Answer:
        environment = {str(k): str(v) for k, v in dict(request.get("environment", {})).items()}
        resources = dict(request.get("resources", {}))
        aliases = {str(k): str(v) for k, v in dict(request.get("aliases", {})).items()}
        return self._backend.starter.run(str(request.get("module", "")), environment, resources, aliases)

    def _jobs(self, request: dict[str, Any]) -> Answer:
        jobs = [job for job in self.directory.by_space.values() if job.owner != names.OWNER_WARM]
        return {"jobs": [job.to_json() for job in jobs]}

    def _sweep(self, request: dict[str, Any]) -> Answer:
        return self._backend.lives.sweep()

    def _warm_for_all(self, request: dict[str, Any]) -> Answer:
        return self._backend.warm_points.keep_for_all(*parse_warm(request))

    def _ps(self, job: Job, request: dict[str, Any]) -> Answer:
        summary = job.space.summary() if job.space.reports else None
        return {
            **job.to_json(),
            "rows": job.points_to_json(),
            "summary": summary._asdict() if summary else None,
            "description": summary.describe() if summary else "",
        }

    def _channels(self, job: Job, request: dict[str, Any]) -> Answer:
        return {"channels": [vars(flow) for flow in job.channels()]}

    def _halt(self, job: Job, request: dict[str, Any]) -> Answer:
        self._backend.lives.end_job(job, "stopped by parcs stop")
        return {"job": job.name}

    def _forget(self, job: Job, request: dict[str, Any]) -> Answer:
        self._backend.starter.forget(job)
        return {"job": job.name}

    def _logs(self, job: Job, request: dict[str, Any]) -> Answer:
        """Lines after ``after``; if there are none yet, the answer waits for some."""
        after, wait_s = int(request.get("after", 0)), float(request.get("wait_s", 0.0))
        answer = self._lines(job, after)
        if answer["lines"] or job.is_over or wait_s <= 0:
            return answer
        future: Future[dict[str, Any]] = Future()

        def give() -> None:
            if not future.done():
                future.set_result(self._lines(job, after))

        self._backend.output.on_change(job, give)
        self.call_later(min(wait_s, 30.0), give)
        return future

    def _lines(self, job: Job, after: int) -> dict[str, Any]:
        lines = job.lines_after(after, _LINES)
        return {
            "lines": [list(line) for line in lines],
            "is_over": job.is_over and len(lines) < _LINES,
            "state": job.state,
        }

    def on_session_end(self, session: Session) -> None:
        """A runner that goes without a goodbye is looked for; one outside that says goodbye has ended."""
        super().on_session_end(session)
        self._backend.hurry()
        job = self.directory.by_space.get(session.space.hex())
        if job is None or job.is_over or session.program != RUNNER:
            return
        if not session.said_bye:
            job.absent_since = time.monotonic()
        elif job.owner == names.OWNER_OUTSIDE:
            self._backend.lives.end_job(job)


_FOR_PEOPLE: Final[dict[str, Callable[[SwarmServer, dict[str, Any]], Answer]]] = {
    "about": SwarmServer._about,
    "open": SwarmServer._open,
    "run": SwarmServer._run_job,
    "jobs": SwarmServer._jobs,
    "sweep": SwarmServer._sweep,
    "warm": SwarmServer._warm_for_all,
}
_FOR_ONE_JOB: Final[dict[str, Callable[[SwarmServer, Job, dict[str, Any]], Answer]]] = {
    "ps": SwarmServer._ps,
    "channels": SwarmServer._channels,
    "logs": SwarmServer._logs,
    "halt": SwarmServer._halt,
    "forget": SwarmServer._forget,
}
