"""Services: made, listed, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import urllib3

from parcs import errors
from parcs.dockerapi.client import Docker, registry_header


class Service(NamedTuple):
    """A service of the Swarm. ``version`` counts its updates."""

    id: str
    name: str
    version: int
    labels: dict[str, str]
    spec: dict[str, Any]
    created_at: str
    updating: str
    """How its last update went; empty if there was none."""


def create(docker: Docker, spec: dict[str, Any], credentials: dict[str, str] | None = None) -> str:
    """Make a service; returns its id.

    Args:
        spec: as Docker's API takes it (ServiceSpec).
        credentials: for the image's registry.

    Raises:
        DockerError: refused; status 409 if the name is taken.
    """
    made: str = docker.post("/services/create", spec, headers=registry_header(credentials))["ID"]
    return made


def ensure(docker: Docker, spec: dict[str, Any], credentials: dict[str, str] | None = None) -> None:
    """Make a service unless there is one of that name: of somebody else, or of a request whose answer was lost."""
    try:
        create(docker, spec, credentials)
    except errors.DockerError as error:
        if error.status != 409:
            raise


def update(
    docker: Docker, service: Service, spec: dict[str, Any], credentials: dict[str, str] | None = None
) -> None:
    """Change a service to ``spec``."""
    headers = registry_header(credentials)
    docker.post(f"/services/{service.id}/update", spec, headers=headers, version=service.version)


def roll_back(docker: Docker, service: Service) -> None:
    """Make a service what it was before its last change."""
    docker.post(f"/services/{service.id}/update", service.spec, version=service.version, rollback="previous")


def inspect(docker: Docker, name: str) -> Service:
    """One service, by id or name.

    Raises:
        DockerError: with status 404, there is none.
    """
    return _service(docker.get(f"/services/{quote(name, safe='')}"))


def find(docker: Docker, label: str = "") -> list[Service]:
    """All services, or those with a label: ``key`` or ``key=value``."""
    query = {"filters": json.dumps({"label": [label]})} if label else {}
    return [_service(item) for item in docker.get("/services", **query)]


def remove(docker: Docker, service: str) -> None:
    """Remove a service by id or name, and with it its containers; one that is gone already is well."""
    try:
        docker.delete(f"/services/{service}")
    except errors.DockerError as error:
        if error.status != 404:
            raise


class LogLine(NamedTuple):
    """One line of one container. ``stream`` is 1 for standard output, 2 for standard error."""

    task: str
    node: str
    stream: int
    text: str


class Logs:
    """What the containers of a service print, line by line: iterate over it.

    Following goes on until `close`: Docker does not end it when the service is removed. It ends early if nothing
    comes for ``timeout_s``: Docker waits for nodes that are down. ``tail``: only so many lines of each container.
    """

    def __init__(
        self,
        docker: Docker,
        service: str,
        *,
        is_following: bool,
        timeout_s: float | None = None,
        tail: int | None = None,
    ) -> None:
        self._docker = docker
        query = {"stdout": 1, "stderr": 1, "details": 1, "follow": int(is_following)}
        query |= {} if tail is None else {"tail": tail}
        self._response = docker.stream(f"/services/{service}/logs", timeout_s, **query)

    def __iter__(self) -> Iterator[LogLine]:
        with self._response:
            for stream, data in _multiplexed(self._response):
                details, _, text = data.decode(errors="replace").rstrip("\n").partition(" ")
                known = dict(pair.partition("=")[::2] for pair in details.split(","))
                yield LogLine(
                    known.get("com.docker.swarm.task.id", ""),
                    known.get("com.docker.swarm.node.id", ""),
                    stream,
                    text.rstrip("\r"),
                )

    def close(self) -> None:
        """End it; from any thread."""
        self._docker.hang_up(self._response)


def _multiplexed(response: Any) -> Iterator[tuple[int, bytes]]:
    """Frames of a log stream: stream number, three zeros, u32 length, data."""
    raw = response.raw
    while True:
        try:
            head = raw.read(8)
            if len(head) < 8:
                return
            size = int.from_bytes(head[4:8], "big")
            data = raw.read(size)
        except urllib3.exceptions.HTTPError:
            return  # cut off in mid-line: the service, or the Engine, is gone
        if len(data) < size:
            return
        yield head[0], data


def _service(item: dict[str, Any]) -> Service:
    spec = item["Spec"]
    return Service(
        item["ID"],
        spec["Name"],
        item["Version"]["Index"],
        spec.get("Labels") or {},
        spec,
        item.get("CreatedAt", ""),
        (item.get("UpdateStatus") or {}).get("State", ""),
    )
