"""The level ``docker``: a container of an image of the task's own, with its limits kept by the Docker Engine.

It is driven by Docker's command line: so a container is a process to its slot, as at the other levels, and an
executor needs no library for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

HOME: Final = "/task"
_OWN: Final = ("PATH", "HOME")
"""Set by the image, or by us: not what they are outside."""
_CLIENT: Final = (
    "PATH",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
)
_ASK_S: Final = 20.0


class End(NamedTuple):
    """What the Engine knows of a container that has ended. ``error`` is why it could not begin, if it could not."""

    was_out_of_memory: bool
    error: str


def words(
    name: str,
    image: str,
    folder: str,
    variables: Iterable[str],
    *,
    network: bool,
    memory: int,
    processes: int,
) -> list[str]:
    """What stands before a command for it to run in a container.

    Args:
        variables: names; their values are taken from the environment, and so are in no list of processes.
    """
    memory_limits = ["--memory", str(memory), "--memory-swap", str(memory)] if memory else []
    limits = ["--pids-limit", str(processes), *memory_limits]
    user = [] if os.geteuid() == 0 else ["--user", f"{os.geteuid()}:{os.getegid()}"]
    given = [word for variable in variables if variable not in _OWN for word in ("--env", variable)]
    return [
        "docker", "run", "--interactive", "--init", "--name", name, "--network", "bridge" if network else "none",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--volume", f"{folder}:{HOME}", "--workdir", HOME, "--env", f"HOME={HOME}",
        *limits, *user, *given, "--entrypoint", "", image,
    ]  # fmt: skip


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of Docker's command line: the task's, and what leads to the Engine."""
    return {**given, **{name: os.environ[name] for name in _CLIENT if name in os.environ}}


def remove(name: str) -> End:
    """End a container, whatever it does, and take it away."""
    end = End(False, "")
    seen = _docker("inspect", "--format", "{{json .State}}", name)
    if seen.returncode == 0:
        state = json.loads(seen.stdout)
        end = End(bool(state.get("OOMKilled")), str(state.get("Error", "")))
    _docker("rm", "--force", "--volumes", name)
    return end


def _docker(*given: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *given], check=False, capture_output=True, text=True, timeout=_ASK_S)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(error.cmd, 1, "", "the Docker Engine does not answer")
