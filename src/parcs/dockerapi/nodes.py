"""The machines of a Swarm, and the Swarm itself."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from parcs import errors
from parcs.dockerapi import tasks
from parcs.dockerapi.client import Docker


class Node(NamedTuple):
    """One machine. ``memory`` is bytes; ``address`` is where the other nodes reach it."""

    id: str
    name: str
    role: str
    state: str
    availability: str
    address: str
    os: str
    architecture: str
    cpus: float
    memory: int
    gpus: int
    labels: dict[str, str]
    engine_labels: dict[str, str]
    is_leader: bool

    @property
    def is_usable(self) -> bool:
        """Whether it takes new work."""
        return self.state == "ready" and self.availability == "active"


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def find(docker: Docker) -> list[Node]:
    """All nodes, by name."""
    return sorted((_node(item) for item in docker.get("/nodes")), key=lambda node: node.name)


def check_manager(docker: Docker) -> dict[str, Any]:
    """What the Engine says of itself, if it is a manager of a Swarm.

    Raises:
        SwarmError: it is not.
    """
    info: dict[str, Any] = docker.get("/info")
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active":
        raise errors.SwarmError(
            f"the Docker Engine at {docker.url} is not part of a Swarm; make one there with: docker swarm init "
            "(or a lab on this machine: parcs lab up)"
        )
    if not swarm.get("ControlAvailable"):
        managers = ", ".join(peer["Addr"].rpartition(":")[0] for peer in swarm.get("RemoteManagers") or [])
        raise errors.SwarmError(
            f"the Docker Engine at {docker.url} is a worker of its Swarm, and PARCS needs a manager: {managers}"
        )
    return info


def manager_token(docker: Docker) -> str:
    """What a new manager joins with: known to whoever may administer the Swarm, and to nobody else."""
    token: str = docker.get("/swarm")["JoinTokens"]["Manager"]
    return token


def set_availability(docker: Docker, node: str, availability: str) -> None:
    """Let a node take new work (``active``), nothing new (``pause``), or nothing at all (``drain``).

    Raises:
        DockerError: with status 404, there is no such node.
    """
    found = docker.get(f"/nodes/{quote(node, safe='')}")
    spec = {**found["Spec"], "Availability": availability}
    docker.post(f"/nodes/{found['ID']}/update", spec, version=found["Version"]["Index"])


def _node(item: dict[str, Any]) -> Node:
    description, spec, status = item["Description"], item["Spec"], item["Status"]
    resources, platform = description.get("Resources", {}), description.get("Platform", {})
    manager = item.get("ManagerStatus") or {}
    architecture = platform.get("Architecture", "")
    address = status.get("Addr", "")
    if address in ("", "0.0.0.0", "127.0.0.1"):  # noqa: S104  # what a manager says of itself
        address = manager.get("Addr", "").rpartition(":")[0]
    return Node(
        id=item["ID"],
        name=description.get("Hostname", ""),
        role=spec.get("Role", ""),
        state=status.get("State", ""),
        availability=spec.get("Availability", ""),
        address=address,
        os=platform.get("OS", ""),
        architecture=_ARCHITECTURES.get(architecture, architecture),
        cpus=resources.get("NanoCPUs", 0) / 1e9,
        memory=resources.get("MemoryBytes", 0),
        gpus=tasks.generic_resources(resources.get("GenericResources")),
        labels=spec.get("Labels") or {},
        engine_labels=(description.get("Engine") or {}).get("Labels") or {},
        is_leader=bool(manager.get("Leader")),
    )
