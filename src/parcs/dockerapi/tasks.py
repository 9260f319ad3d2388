"""Tasks: the containers of services, as managers see them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final, NamedTuple

from parcs.dockerapi.client import Docker

STATES: Final = (
    "new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running",
    "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
)  # fmt: skip
"""In the order of a task's life; from ``complete`` on it is over."""

_OVER: Final = frozenset(STATES[8:])


class Task(NamedTuple):
    """One container of a service. Times in seconds since the epoch; ``cpus`` and ``memory`` (bytes) are
    what is reserved for it."""

    id: str
    service: str
    slot: int
    node: str
    state: str
    desired: str
    message: str
    error: str
    exit_code: int
    created_at: float
    changed_at: float
    address: str
    labels: dict[str, str]
    networks: int
    cpus: float
    memory: int
    gpus: int
    image: str

    @property
    def is_over(self) -> bool:
        """Whether its container has ended, or never will begin."""
        return self.state in _OVER


def find(docker: Docker, label: str = "") -> list[Task]:
    """All tasks, or those of services with a label."""
    query = {"filters": json.dumps({"label": [label]})} if label else {}
    return [_task(item) for item in docker.get("/tasks", **query)]


def parse_time(text: str) -> float:
    """A time of Docker's (RFC 3339 with nanoseconds) in seconds since the epoch; 0.0 if there is none."""
    if not text or text.startswith("0001-"):
        return 0.0
    head, _, rest = text.partition(".")
    digits = "".join(character for character in rest if character.isdigit())[:6]
    seconds = datetime.fromisoformat(f"{head.rstrip('Z')}+00:00").timestamp()
    return seconds + (float(f"0.{digits}") if digits else 0.0)


def generic_resources(items: list[dict[str, Any]] | None) -> int:
    """How many GPUs a list of generic resources has: kinds whose name contains ``gpu``."""
    count = 0
    for item in items or []:
        named, discrete = item.get("NamedResourceSpec"), item.get("DiscreteResourceSpec")
        if named and "gpu" in named["Kind"].lower():
            count += 1
        if discrete and "gpu" in discrete["Kind"].lower():
            count += int(discrete["Value"])
    return count


def _task(item: dict[str, Any]) -> Task:
    status, spec = item.get("Status", {}), item.get("Spec", {})
    reserved = (spec.get("Resources") or {}).get("Reservations") or {}
    attachments = item.get("NetworksAttachments") or []
    addresses = [
        address
        for attachment in attachments
        if attachment["Network"]["Spec"].get("Name") != "ingress"
        for address in attachment.get("Addresses") or []
    ]
    return Task(
        id=item["ID"],
        service=item.get("ServiceID", ""),
        slot=item.get("Slot", 0),
        node=item.get("NodeID", ""),
        state=status.get("State", "new"),
        desired=item.get("DesiredState", ""),
        message=status.get("Message", ""),
        error=status.get("Err", ""),
        exit_code=(status.get("ContainerStatus") or {}).get("ExitCode", 0),
        created_at=parse_time(item.get("CreatedAt", "")),
        changed_at=parse_time(status.get("Timestamp", "")),
        address=addresses[0].partition("/")[0] if addresses else "",
        labels=(spec.get("ContainerSpec") or {}).get("Labels") or {},
        networks=len(attachments),
        cpus=reserved.get("NanoCPUs", 0) / 1e9,
        memory=reserved.get("MemoryBytes", 0),
        gpus=generic_resources(reserved.get("GenericResources")),
        image=(spec.get("ContainerSpec") or {}).get("Image", ""),
    )
