"""The shapes of a Swarm as the hub's HTTP API shows it. Times are seconds since 1970, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_OPEN = {"use_attribute_docstrings": True}


@dataclass(frozen=True)
class About:
    """What a hub has besides tasks."""

    __pydantic_config__ = _OPEN

    version: str
    cluster: bool
    """It stands beside a Swarm."""
    modules: bool
    """It knows a registry of modules."""


@dataclass(frozen=True)
class Node:
    """A machine of the Swarm."""

    __pydantic_config__ = _OPEN

    id: str
    name: str
    role: str
    """manager or worker."""
    is_leader: bool
    state: str
    """ready, or down."""
    availability: str
    """active, pause or drain."""
    address: str
    platform: str
    """As linux/amd64."""
    cpus: float
    memory: int
    gpus: int
    reserved_cpus: float
    """Of what runs there."""
    reserved_memory: int
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Replica:
    """One container of a service (a task, in Swarm's own words)."""

    __pydantic_config__ = _OPEN

    id: str
    service: str
    """The service's id."""
    slot: int
    node: str
    """The node's id; empty while there is none."""
    state: str
    desired: str
    why: str
    """What Docker says of it."""
    image: str
    changed: float


@dataclass(frozen=True)
class Service:
    """A service of the Swarm."""

    __pydantic_config__ = _OPEN

    id: str
    name: str
    stack: str
    """Empty if it is of none."""
    image: str
    mode: str
    """replicated, global, or a job."""
    replicas: int | None
    """How many are wanted; null where that is no number to be chosen."""
    running: int
    ports: Sequence[str]
    """As 8080:80/tcp."""
    created: float
    update: str
    """How its last update went: updating, completed, paused, rollback_…; empty if there was none."""
    is_own: bool
    """Whether PARCS made it."""


@dataclass(frozen=True)
class Network:
    """A network."""

    __pydantic_config__ = _OPEN

    id: str
    name: str
    driver: str
    scope: str
    subnets: Sequence[str]


@dataclass(frozen=True)
class Named:
    """A secret, a config or a volume: never what is in it."""

    __pydantic_config__ = _OPEN

    id: str
    name: str
    created: float


@dataclass(frozen=True)
class Cluster:
    """A Swarm at one time."""

    __pydantic_config__ = _OPEN

    at: float
    engine: str
    """The version of the Docker Engine that was asked."""
    nodes: Sequence[Node]
    services: Sequence[Service]
    replicas: Sequence[Replica]
    """Those that are wanted, and of every place the last one that failed."""
    networks: Sequence[Network]
    secrets: Sequence[Named]
    configs: Sequence[Named]
    volumes: Sequence[Named]
    """Of the manager that was asked."""


@dataclass(frozen=True)
class ServiceChange:
    """What is to be otherwise; what is not said stays."""

    __pydantic_config__ = _STRICT

    replicas: int | None = None
    image: str | None = None
    restart: bool = False
    """Every container is replaced, one after another, as the service's update rules say."""
    rollback: bool = False
    """As it was before its last change."""


@dataclass(frozen=True)
class NodeChange:
    """What a node is to take."""

    __pydantic_config__ = _STRICT

    availability: str
    """active; pause: nothing new; drain: what runs there moves to others."""


@dataclass(frozen=True)
class Parameter:
    """What a module takes."""

    __pydantic_config__ = _OPEN

    type: str
    default: str | None
    help: str


@dataclass(frozen=True)
class ModuleImage:
    """A module in the registry."""

    __pydantic_config__ = _OPEN

    name: str
    tag: str
    digest: str
    size: int
    platform: str
    language: str
    about: str
    parameters: Mapping[str, Parameter]
