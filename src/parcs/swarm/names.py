"""Names that tie things in a Swarm to PARCS: labels, services, ports. Pure."""

from __future__ import annotations

from typing import Final

NETWORK: Final = "parcs"
"""The overlay network of all points, as in the original."""

ENGINE: Final = "parcs-engine"
"""The engine server's service, its host name in the network, and its secret's first part."""

PRESENCE: Final = "parcs-presence"
"""A service with one idle container on every node."""

OUTSIDE_PORT: Final = 4320
"""TLS, published on the node: programs outside the cluster, and the command line."""
INSIDE_PORT: Final = 4321
"""In the overlay network only: requests of programs in the cluster."""
RELAY_PORT: Final = 4322
"""In the overlay network only: calls for a program outside."""

JOB: Final = "parcs.job"
"""The control space's id; on everything that belongs to a job. The sweeper looks for it."""
KIND: Final = "parcs.kind"
NAME: Final = "parcs.name"
OWNER: Final = "parcs.owner"
GROUP: Final = "parcs.group"
MODULE: Final = "parcs.module"
LAUNCHER: Final = "parcs.launcher"
CREATOR: Final = "parcs.creator"
STEM: Final = "parcs.stem"
FIRST: Final = "parcs.first"
COUNT: Final = "parcs.count"
LANGUAGE: Final = "parcs.language"
PROTOCOL: Final = "parcs.protocol"

VERSION: Final = "parcs.version"
CERTIFICATE: Final = "parcs.certificate"
REGISTRY: Final = "parcs.registry"

RUNNER_KIND: Final = "runner"
POINTS_KIND: Final = "points"
ENGINE_KIND: Final = "engine"
PRESENCE_KIND: Final = "presence"

OWNER_CLUSTER: Final = "cluster"
OWNER_OUTSIDE: Final = "outside"
OWNER_WARM: Final = "warm"

OPERATOR_SPACE: Final = "00" * 8
"""The space that people's own requests come from: they see every job."""
WARM_SPACE: Final = "ff" * 8
"""The space of points that wait to be taken."""
