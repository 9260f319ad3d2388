"""The replicated PostgreSQL that `parcs deploy` brings, where nobody names another one."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from parcs import errors
from parcs.deploy import patroni, plan
from parcs.dockerapi import nodes, services, tasks
from parcs.dockerapi import secrets as swarm_secrets
from parcs.dockerapi.client import Docker
from parcs.image.build import Builder
from parcs.swarm import names
from parcs.version import VERSION

KIND: Final = "database"
_SERVERS: Final = 3
_UP_S: Final = 240.0
_PASSWORD: Final = f"{plan.DATABASE}-password"
_DSN: Final = f"{plan.DATABASE}-dsn"

Tell = Callable[[str], None]


def is_there(docker: Docker) -> bool:
    """Whether this Swarm has one."""
    return bool(services.find(docker, f"{names.KIND}={KIND}"))


def ensure(docker: Docker, builder: Builder, tell: Tell) -> plan.Secret:
    """Have it, in this version, one server after another; gives the secret with its DSN.

    Raises:
        SwarmError, DockerError, ImageMissingError: it cannot be.
    """
    services.remove(docker, plan.LOOK)  # of a deploy that was broken off: it is no server
    there = {service.name: service for service in services.find(docker, f"{names.KIND}={KIND}")}
    machines = _machines(docker, there)
    image = builder.database(patroni.VERSION)
    kept = _secrets(docker, len(machines))
    labels = {names.KIND: KIND, names.VERSION: VERSION}
    wanted = plan.DatabasePlan(image.pinned, names.NETWORK, labels, kept[_PASSWORD], machines)
    specifications = [plan.database(wanted, number) for number in range(1, len(machines) + 1)]
    for specification in specifications:
        name = specification["Name"]
        if name not in there:
            tell(f"{name}: starting")
            services.ensure(docker, specification, builder.credentials)
        elif there[name].spec["TaskTemplate"]["ContainerSpec"]["Image"] != image.pinned:
            tell(f"{name}: updating")
            services.update(docker, there[name], specification, builder.credentials)
            _wait(docker, wanted, builder)
    _wait(docker, wanted, builder)
    return kept[_DSN]


def remove(docker: Docker, tell: Tell) -> bool:
    """Take it away, but its data: they stay on the nodes, as volumes. False if there was none."""
    there = services.find(docker, f"{names.KIND}={KIND}")
    for service in there:
        tell(f"{service.name}: removing; its data stay on its node: docker volume rm {plan.DATABASE}")
        services.remove(docker, service.id)
    for secret in _found(docker).values():
        docker.delete(f"/secrets/{secret.id}")
    return bool(there)


def _machines(docker: Docker, there: Mapping[str, services.Service]) -> list[str]:
    """The nodes that have, or are to have, a server each: they stay where their data are."""
    if there:
        constraints = [
            there[name].spec["TaskTemplate"]["Placement"]["Constraints"][0] for name in sorted(there)
        ]
        return [str(constraint).removeprefix("node.id==") for constraint in constraints]
    usable = [node for node in nodes.find(docker) if node.is_usable]
    usable.sort(key=lambda node: (node.role != "manager", node.name))
    if len(usable) < _SERVERS:
        raise errors.SwarmError(
            f"a database that survives the loss of a machine needs {_SERVERS} nodes, and {len(usable)} can take "
            "work; add nodes, or name a PostgreSQL of yours with --database-file"
        )
    return [node.id for node in usable[:_SERVERS]]


def _found(docker: Docker) -> dict[str, plan.Secret]:
    items = docker.get("/secrets", filters=json.dumps({"label": [f"{names.KIND}={KIND}"]}))
    return {item["Spec"]["Name"]: plan.Secret(item["ID"], item["Spec"]["Name"]) for item in items}


def _secrets(docker: Docker, count: int) -> dict[str, plan.Secret]:
    """The password, and the DSN with it: made once, as a secret cannot be read back."""
    kept = _found(docker)
    if not {_PASSWORD, _DSN} <= kept.keys():
        password = secrets.token_urlsafe(32)
        hosts = ",".join(f"{plan.DATABASE}-{number}" for number in range(1, count + 1))
        contents = {_PASSWORD: password, _DSN: f"postgresql://parcs:{password}@{hosts}/hub"}
        for name, content in contents.items():
            made = swarm_secrets.create(docker, name, {names.KIND: KIND}, content)
            kept[name] = plan.Secret(made, name)
    return kept


def _wait(docker: Docker, wanted: plan.DatabasePlan, builder: Builder) -> None:
    """Until every server is as it should be: a container among them looks."""
    services.ensure(docker, plan.look(wanted), builder.credentials)
    try:
        deadline = time.monotonic() + _UP_S
        while True:
            service = next(s for s in services.find(docker, f"{names.KIND}={KIND}") if s.name == plan.LOOK)
            mine = [t for t in tasks.find(docker, f"{names.KIND}={KIND}") if t.service == service.id]
            if any(task.state == "complete" for task in mine):
                return
            failed = [task for task in mine if task.state in ("failed", "rejected")]
            if failed or time.monotonic() > deadline:
                why = f": {failed[0].error or failed[0].message}" if failed else ""
                raise errors.SwarmError(
                    f"the database did not come up within {_UP_S:.0f} s{why}; "
                    f"see: docker service logs {plan.DATABASE}-1"
                )
            time.sleep(0.3)
    finally:
        services.remove(docker, plan.LOOK)
