"""What is asked of Swarm for hubs and executors: ServiceSpecs. Pure.

A hub on every manager, an executor on every node or on so many. An executor that is to go has a signal, and time
to finish what it runs: Swarm's own way of scaling down and of updating drains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

_NANO: Final = 1_000_000_000
HUB: Final = "parcs-hub"
EXECUTOR: Final = "parcs-executor"
PORT: Final = 7000
SECRETS: Final = ("parcs-hub-database", "parcs-hub-admin", "parcs-hub-executor")
"""The database's DSN, an admin's token, the executors' token."""
_READY: Final = (
    "import sys, urllib.request as r; sys.exit(r.urlopen("
    f"'http://127.0.0.1:{PORT}/readyz', timeout=4).status != 200)"
)


MANAGES: Final = "PARCS_HUB_DOCKER"
"""The variable by which a hub knows of its Swarm."""
_SOCKET: Final = "/var/run/docker.sock"
DATABASE: Final = "parcs-database"
LOOK: Final = "parcs-database-look"


class Secret(NamedTuple):
    """A secret of the Swarm."""

    id: str
    name: str


class Plan(NamedTuple):
    """What hubs and executors are made of.

    Args:
        executors: how many; 0 is one on every node.
        slots: of each; 0 is its node's processors.
        drain_s: how long an executor that is to go may finish what it runs.
        registry: that the Swarm's modules are in.
        manages: whether hubs are given their manager's Docker socket.
    """

    image: str
    network: str
    labels: dict[str, str]
    secrets: Sequence[Secret]
    executors: int
    slots: int
    drain_s: int
    registry: str = ""
    manages: bool = False


def hub(plan: Plan) -> dict[str, Any]:
    """A hub on every manager. They are updated one after another, each when the one before is ready."""
    database, admin, executor = plan.secrets
    environment = {
        "PARCS_HOME": "/var/lib/parcs",
        "PARCS_HUB_DATABASE_FILE": f"/run/secrets/{SECRETS[0]}",
        "PARCS_HUB_ADMIN_TOKEN_FILE": f"/run/secrets/{SECRETS[1]}",
        "PARCS_HUB_EXECUTOR_TOKEN_FILE": f"/run/secrets/{SECRETS[2]}",
        "PARCS_HUB_ADDRESS": f"http://{{{{.Node.Hostname}}}}:{PORT}",
        "PYTHONUNBUFFERED": "1",
    }
    if plan.manages:
        environment |= {MANAGES: f"unix://{_SOCKET}", "PARCS_HUB_REGISTRY": plan.registry}
    container = {
        "Image": plan.image,
        "Command": ["python3", "-m", "parcs", "hub", "--host", "0.0.0.0", "--port", str(PORT)],  # noqa: S104  # a token is there
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": plan.labels,
        "Init": True,
        "StopGracePeriod": 10 * _NANO,
        "Secrets": [
            _secret(each, name) for each, name in zip((database, admin, executor), SECRETS, strict=True)
        ],
        "Mounts": [{"Type": "bind", "Source": _SOCKET, "Target": _SOCKET}] if plan.manages else [],
        "Healthcheck": {
            "Test": ["CMD", "python3", "-c", _READY],
            "Interval": 2 * _NANO,
            "Timeout": 5 * _NANO,
            "StartPeriod": 30 * _NANO,
            # A database that fails over takes half a minute; a hub that waits for it is not to be ended.
            "Retries": 60,
        },
    }
    return {
        "Name": HUB,
        "Labels": plan.labels,
        "TaskTemplate": {
            "ContainerSpec": container,
            "RestartPolicy": {"Condition": "any", "Delay": _NANO},
            "Placement": {"Constraints": ["node.role==manager"]},
            "Networks": [{"Target": plan.network}],
        },
        "Mode": {"Global": {}},
        "UpdateConfig": {
            "Parallelism": 1,
            "Order": "stop-first",
            "Monitor": 5 * _NANO,
            "FailureAction": "rollback",
        },
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [
                {"Protocol": "tcp", "TargetPort": PORT, "PublishedPort": PORT, "PublishMode": "host"},
            ],
        },
    }


def executor(plan: Plan) -> dict[str, Any]:
    """An executor on every node, or so many on different nodes."""
    command = ["python3", "-m", "parcs", "executor", "--drain", "--hub", f"http://{HUB}:{PORT}"]
    command += ["--token-file", f"/run/secrets/{SECRETS[2]}"]
    if plan.slots:
        command += ["--slots", str(plan.slots)]
    placement: dict[str, Any] = {"MaxReplicas": 1} if plan.executors else {}
    return {
        "Name": EXECUTOR,
        "Labels": plan.labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": plan.image,
                "Command": command,
                "Env": ["PYTHONUNBUFFERED=1"],
                "Labels": plan.labels,
                "Hostname": "{{.Node.Hostname}}",
                "Init": True,
                "StopGracePeriod": plan.drain_s * _NANO,
                "Secrets": [_secret(plan.secrets[2], SECRETS[2])],
            },
            "RestartPolicy": {"Condition": "any", "Delay": _NANO},
            "Placement": placement,
            "Networks": [{"Target": plan.network}],
        },
        "Mode": {"Replicated": {"Replicas": plan.executors}} if plan.executors else {"Global": {}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "rollback"},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


class DatabasePlan(NamedTuple):
    """What the servers of a replicated PostgreSQL are made of; ``nodes`` are the ids of their nodes."""

    image: str
    network: str
    labels: dict[str, str]
    password: Secret
    nodes: Sequence[str]


def database(plan: DatabasePlan, number: int) -> dict[str, Any]:
    """One server of it (from 1), on a node of its own, with its data there."""
    members = [f"{DATABASE}-{i}" for i in range(1, len(plan.nodes) + 1)]
    name = members[number - 1]
    environment = {"PARCS_DATABASE_NAME": name, "PARCS_DATABASE_MEMBERS": ",".join(members)}
    return {
        "Name": name,
        "Labels": plan.labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": plan.image,
                "Env": [f"{key}={value}" for key, value in environment.items()],
                "Labels": plan.labels,
                "Hostname": name,
                "Init": True,
                "StopGracePeriod": 40 * _NANO,
                "Mounts": [{"Type": "volume", "Source": DATABASE, "Target": "/var/lib/parcs-database"}],
                "Secrets": [_secret(plan.password, "parcs-database-password")],
            },
            "RestartPolicy": {"Condition": "any", "Delay": _NANO},
            "Placement": {"Constraints": [f"node.id=={plan.nodes[number - 1]}"]},
            "Networks": [{"Target": plan.network}],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first"},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def look(plan: DatabasePlan) -> dict[str, Any]:
    """A container that ends well when every server of the database is as it should be.

    The servers themselves have no health check: until one is healthy Swarm gives its name to nobody, and they need
    each other's names to come up.
    """
    members = [f"{DATABASE}-{i}" for i in range(1, len(plan.nodes) + 1)]
    return {
        "Name": LOOK,
        "Labels": plan.labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": plan.image,
                "Command": ["python3", "-m", "parcs.deploy.node", "look"],
                "Env": [f"PARCS_DATABASE_MEMBERS={','.join(members)}"],
                "Labels": plan.labels,
                "Init": True,
                "StopGracePeriod": _NANO,
            },
            "RestartPolicy": {"Condition": "none"},
            "Networks": [{"Target": plan.network}],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _secret(secret: Secret, name: str) -> dict[str, Any]:
    return {
        "SecretID": secret.id,
        "SecretName": secret.name,
        "File": {"Name": name, "UID": "0", "GID": "0", "Mode": 0o400},
    }
