"""Containers of one Engine: run a command in one, to its end."""

from __future__ import annotations

from typing import Any

from parcs import errors
from parcs.dockerapi.client import Docker


def run(docker: Docker, image: str, command: list[str]) -> str:
    """What a command prints in a container of its own, without a network.

    Raises:
        DockerError: it cannot be run, or fails.
    """
    body: dict[str, Any] = {
        "Image": image,
        "Entrypoint": command,
        "Tty": True,  # one plain stream
        "HostConfig": {"NetworkMode": "none"},
    }
    made = docker.post("/containers/create", body)["Id"]
    try:
        docker.post(f"/containers/{made}/start")
        code = docker.post(f"/containers/{made}/wait")["StatusCode"]
        with docker.stream(f"/containers/{made}/logs", stdout=1, stderr=1) as response:
            text = response.text
    finally:
        docker.delete(f"/containers/{made}", force="true", v="true")
    if code != 0:
        raise errors.DockerError(f"{' '.join(command)} in {image} ended with status {code}: {text.strip()}")
    return text
