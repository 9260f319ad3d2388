"""What is asked of Swarm for a group of points, a runner, the engine server: ServiceSpecs. Pure.

Always: endpoint mode dnsrr (the default virtual IP cuts idle connections and runs out of addresses), the image
by digest, an init process, a short stop grace, no restarts, labels with the job.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from parcs.contract import engine as contract
from parcs.model.resources import Placement, Resources
from parcs.swarm import names

_NANO: Final = 1_000_000_000
STOP_GRACE_S: Final = 2


class Launch(NamedTuple):
    """What to run: ``image`` by digest, ``command`` empty for the image's own."""

    name: str
    image: str
    command: tuple[str, ...]
    replicas: int
    environment: dict[str, str]
    labels: dict[str, str]
    resources: Resources
    placement: Placement


def service(launch: Launch, network: str) -> dict[str, Any]:
    """A service of ``replicas`` containers that run once."""
    container: dict[str, Any] = {
        "Image": launch.image,
        "Env": [f"{key}={value}" for key, value in launch.environment.items()],
        "Labels": launch.labels,
        "Init": True,
        "StopGracePeriod": STOP_GRACE_S * _NANO,
    }
    if launch.command:
        container["Command"] = list(launch.command)
    task: dict[str, Any] = {
        "ContainerSpec": container,
        "RestartPolicy": {"Condition": "none"},
        "Networks": [{"Target": network}],
        "Resources": _resources(launch.resources),
        "Placement": _placement(launch.placement),
    }
    return {
        "Name": launch.name,
        "Labels": launch.labels,
        "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": launch.replicas}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def point_environment(engine: str, space: str, token: bytes) -> dict[str, str]:
    """What every program of a job finds in its environment."""
    return {
        contract.ENGINE_VARIABLE: engine,
        contract.SPACE_VARIABLE: space,
        contract.TOKEN_VARIABLE: token.decode(),
        contract.NODE_VARIABLE: "{{.Node.Hostname}}",
        "PYTHONUNBUFFERED": "1",
    }


def group_environment(stem: str, first: int, call: str) -> dict[str, str]:
    """What the points of one group find: each works its own name out from its slot."""
    return {
        contract.CALL_VARIABLE: call,
        contract.POINT_VARIABLE: stem,
        contract.FIRST_VARIABLE: str(first),
        contract.SLOT_VARIABLE: "{{.Task.Slot}}",
    }


class EnginePlan(NamedTuple):
    """What the engine server's service is made of."""

    image: str
    node: str
    secret: dict[str, str]
    labels: dict[str, str]
    environment: dict[str, str]


def engine(plan: EnginePlan, network: str) -> dict[str, Any]:
    """The engine server: one container, always, on a manager, with its Docker socket."""
    constraints = ["node.role==manager", *([f"node.id=={plan.node}"] if plan.node else [])]
    return {
        "Name": names.ENGINE,
        "Labels": plan.labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": plan.image,
                "Env": [f"{key}={value}" for key, value in plan.environment.items()],
                "Labels": plan.labels,
                "Hostname": names.ENGINE,
                "Init": True,
                "StopGracePeriod": 5 * _NANO,
                "Mounts": [
                    {"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"},
                ],
                "Secrets": [
                    {
                        "SecretID": plan.secret["id"],
                        "SecretName": plan.secret["name"],
                        "File": {"Name": names.ENGINE, "UID": "0", "GID": "0", "Mode": 0o400},
                    }
                ],
            },
            "RestartPolicy": {"Condition": "any", "Delay": _NANO},
            "Placement": {"Constraints": constraints},
            "Networks": [{"Target": network}],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first"},
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [
                {
                    "Protocol": "tcp",
                    "TargetPort": names.OUTSIDE_PORT,
                    "PublishedPort": names.OUTSIDE_PORT,
                    "PublishMode": "host",
                }
            ],
        },
    }


def presence(image: str, labels: dict[str, str], network: str) -> dict[str, Any]:
    """One idle container on every node.

    Docker sets an overlay network up on a node when its first container comes there, and takes it down with the
    last: most of a second of every start. The image's layers are on every node too, before a point needs them.
    """
    return {
        "Name": names.PRESENCE,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Command": ["sleep", "infinity"],
                "Labels": labels,
                "Init": True,
                "StopGracePeriod": _NANO,
            },
            "Resources": {"Limits": {"MemoryBytes": 32 << 20}},
            "RestartPolicy": {"Condition": "any", "Delay": 2 * _NANO},
            "Networks": [{"Target": network}],
        },
        "Mode": {"Global": {}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _resources(needs: Resources) -> dict[str, Any]:
    """Reserved, so that nodes are not overfilled; and a limit, so that a point cannot take a neighbour's."""
    amounts: dict[str, Any] = {}
    if needs.cpus:
        amounts["NanoCPUs"] = int(needs.cpus * _NANO)
    if needs.memory:
        amounts["MemoryBytes"] = needs.memory
    reserved = dict(amounts)
    if needs.gpus:
        reserved["GenericResources"] = [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": needs.gpus}}]
    return {**({"Limits": amounts} if amounts else {}), **({"Reservations": reserved} if reserved else {})}


def _placement(placement: Placement) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if placement.constraints:
        body["Constraints"] = list(placement.constraints)
    if placement.per_node:
        body["MaxReplicas"] = placement.per_node
    return body
