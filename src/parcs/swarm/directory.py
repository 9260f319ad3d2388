"""Which jobs a Swarm's engine server has, and what their programs prove."""

from __future__ import annotations

from collections.abc import Callable

from parcs import errors
from parcs.engine.space import ControlSpace
from parcs.swarm import keys, names
from parcs.swarm.job import Job


class Jobs:
    """All jobs, and the tokens of their programs: the server's directory."""

    def __init__(self, cluster_key: bytes, operator: Callable[[], bytes]) -> None:
        self._key, self._operator = cluster_key, operator
        self.by_space: dict[str, Job] = {}
        self._operators = ControlSpace(names.OPERATOR_SPACE)
        self.recovering = True

    def token(self, space: bytes) -> bytes:
        if space.hex() == names.OPERATOR_SPACE:
            return self._operator()
        if space.hex() not in self.by_space and not self.recovering:
            raise errors.AuthenticationError("there is no such job here (any more)")
        return keys.job_token(self._key, space)

    def space(self, space: bytes) -> ControlSpace:
        if space.hex() == names.OPERATOR_SPACE:
            return self._operators
        return self.of(space.hex()).space

    def of(self, space: str) -> Job:
        """The job with a control space.

        Raises:
            EngineError: there is none.
        """
        job = self.by_space.get(space)
        if job is None:
            raise errors.EngineError("there is no such job here (any more)")
        return job

    def named(self, name: str) -> Job:
        """The job people call ``name``, or any unmistakable beginning of it.

        Raises:
            EngineError: none, or several.
        """
        found = [job for job in self.by_space.values() if job.name == name]
        found = found or [job for job in self.by_space.values() if job.name.startswith(name)]
        if len(found) != 1:
            known = ", ".join(sorted(job.name for job in self.by_space.values())) or "none"
            problem = "several jobs begin with" if found else "there is no job"
            raise errors.EngineError(f"{problem} {name!r}; there are: {known}")
        return found[0]
