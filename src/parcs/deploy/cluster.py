"""Hubs and executors on a Swarm, as whoever may use its Docker sees them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.deploy import database, plan
from parcs.dockerapi import networks, nodes, services, tasks
from parcs.dockerapi import secrets as swarm_secrets
from parcs.dockerapi.client import Docker
from parcs.image.build import Builder
from parcs.swarm import deploy as engine
from parcs.swarm import names
from parcs.version import VERSION

KIND: Final = "hub"
_UP_S: Final = 180.0
_TRIES: Final = 10

Tell = Callable[[str], None]


class Wanted(NamedTuple):
    """What is to be there. None is as it is, or as usual if there is nothing yet.

    Args:
        database: the DSN of one that is there; none for one of three servers that is deployed too.
        is_restart: start all of it anew, whether anything has changed or not.
        manages: hubs show and change the Swarm itself, by their managers' Docker sockets.
    """

    database: str | None
    executors: int | None
    slots: int | None
    drain_s: int
    is_restart: bool = False
    manages: bool | None = None


class Part(NamedTuple):
    """One container of the cluster's hubs and executors."""

    service: str
    node: str
    state: str
    version: str
    error: str


class Found(NamedTuple):
    """Where the hubs are, and the admin's token if it was made just now."""

    urls: list[str]
    token: str


def deploy(docker: Docker, wanted: Wanted, tell: Tell, registry: str = "") -> Found:
    """Put hubs and executors there, or bring those that are there to this version, one after another.

    Raises:
        SwarmError, DockerError, SettingsError: it cannot be.
    """
    nodes.check_manager(docker)
    there = {service.name: service for service in services.find(docker, f"{names.KIND}={KIND}")}
    registry = engine.registry_of(engine.find(docker) or there.get(plan.HUB), registry)
    if not registry and len(nodes.find(docker)) > 1:
        raise errors.SwarmError(
            "a Swarm of several nodes needs a registry that all of them reach, for the image of hubs: "
            f"--registry, or {engine.REGISTRY_VARIABLE}=HOST:PORT"
        )
    builder = Builder(docker, registry, tell)
    image = builder.hub()
    networks.ensure_overlay(docker, names.NETWORK)
    manages = _manages(wanted, there.get(plan.HUB))
    if manages:
        engine.ensure(docker, tell, registry)  # hubs have not what its image is made of
    is_own = wanted.database is None and (plan.HUB not in there or database.is_there(docker))
    dsn = database.ensure(docker, builder, tell) if is_own else None
    kept, token = _secrets(docker, wanted.database, dsn, there.get(plan.HUB))
    before = there.get(plan.EXECUTOR)
    labels = {names.KIND: KIND, names.VERSION: VERSION, names.REGISTRY: registry}
    asked = plan.Plan(
        image.pinned, names.NETWORK, labels, kept, _executors(wanted, before), _slots(wanted, before),
        wanted.drain_s, registry, manages,
    )  # fmt: skip
    for specification in (plan.hub(asked), plan.executor(asked)):
        name = specification["Name"]
        tell(f"{name}: {'updating' if name in there else 'starting'}")
        if name in there and (there[name].spec.get("Mode") or {}).keys() != specification["Mode"].keys():
            services.remove(docker, name)  # Swarm does not change one into the other
            _wait_until_gone(docker, name)
            there.pop(name)
        if name in there:
            _update(docker, specification, builder.credentials, is_restart=wanted.is_restart)
        else:
            services.ensure(docker, specification, builder.credentials)
        _wait(docker, name, image.pinned)
    return Found(urls(docker), token)


def _update(
    docker: Docker, specification: dict[str, Any], credentials: dict[str, str] | None, *, is_restart: bool
) -> None:
    """Change a service, whoever else changes it at the same time."""
    for left in reversed(range(_TRIES)):
        service = _find(docker, specification["Name"])
        count = service.spec["TaskTemplate"].get("ForceUpdate", 0)
        specification["TaskTemplate"]["ForceUpdate"] = count + is_restart
        try:
            services.update(docker, service, specification, credentials)
            return
        except errors.DockerError as error:
            if not left or "out of sequence" not in str(error):
                raise
            time.sleep(0.2)


def _find(docker: Docker, name: str) -> services.Service:
    return next(s for s in services.find(docker, f"{names.KIND}={KIND}") if s.name == name)


def urls(docker: Docker) -> list[str]:
    """Where the hubs answer: every manager."""
    return [f"http://{node.address}:{plan.PORT}" for node in nodes.find(docker) if node.role == "manager"]


def parts(docker: Docker) -> list[Part]:
    """Every container that is wanted, and how it is."""
    nodes.check_manager(docker)
    by_id = {node.id: node.name for node in nodes.find(docker)}
    kinds = (KIND, database.KIND)
    there = {s.id: s for kind in kinds for s in services.find(docker, f"{names.KIND}={kind}")}
    found = [
        Part(
            there[task.service].name, by_id.get(task.node, "-"), task.state,
            task.labels.get(names.VERSION, "-"), task.error,
        )
        for kind in kinds
        for task in tasks.find(docker, f"{names.KIND}={kind}")
        if task.service in there and (task.desired == "running" or not task.is_over)
    ]  # fmt: skip
    return sorted(found)


def undeploy(docker: Docker, tell: Tell) -> bool:
    """Remove hubs and executors; False if there were none. Executors finish what they run first."""
    nodes.check_manager(docker)
    there = services.find(docker, f"{names.KIND}={KIND}")
    for service in sorted(there, key=lambda service: service.name):  # executors before their hubs
        tell(f"{service.name}: removing")
        services.remove(docker, service.id)
        _wait_until_gone(docker, service.name)
    for item in docker.get("/secrets", filters=json.dumps({"label": [f"{names.KIND}={KIND}"]})):
        docker.delete(f"/secrets/{item['ID']}")
    return bool(there)


def _secrets(
    docker: Docker, given: str | None, dsn: plan.Secret | None, hub: services.Service | None
) -> tuple[list[plan.Secret], str]:
    """The Swarm's secrets for hubs: those that are there, but for what is given anew; and a new admin's token.

    A secret cannot be changed, and cannot be read back.
    """
    kept: dict[str, plan.Secret] = {}
    if hub is not None:
        for each in hub.spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []:
            kept[each["File"]["Name"]] = plan.Secret(each["SecretID"], each["SecretName"])
    if dsn is not None:
        kept[plan.SECRETS[0]] = dsn
    token = ""
    for name in plan.SECRETS:
        content = given if name == plan.SECRETS[0] else None
        if content is None and name not in kept:
            content = "parcs_" + secrets.token_urlsafe(32)
            token = content if name == plan.SECRETS[1] else token
        if content is not None:
            full = f"{name}-{secrets.token_hex(4)}"
            made = swarm_secrets.create(docker, full, {names.KIND: KIND}, content)
            kept[name] = plan.Secret(made, full)
    return [kept[name] for name in plan.SECRETS], token


def _executors(wanted: Wanted, before: services.Service | None) -> int:
    if wanted.executors is not None or before is None:
        return wanted.executors or 0
    return int((before.spec["Mode"].get("Replicated") or {}).get("Replicas", 0))


def _slots(wanted: Wanted, before: services.Service | None) -> int:
    if wanted.slots is not None or before is None:
        return wanted.slots or 0
    command: list[str] = before.spec["TaskTemplate"]["ContainerSpec"]["Command"]
    return int(command[command.index("--slots") + 1]) if "--slots" in command else 0


def _manages(wanted: Wanted, before: services.Service | None) -> bool:
    if wanted.manages is not None or before is None:
        return bool(wanted.manages)
    environment: list[str] = before.spec["TaskTemplate"]["ContainerSpec"].get("Env") or []
    return any(each.startswith(f"{plan.MANAGES}=") for each in environment)


def _wait(docker: Docker, name: str, image: str) -> None:
    """Until all of it runs, with this image, and nothing else of it."""
    deadline = time.monotonic() + _UP_S
    while True:
        service = _find(docker, name)
        known = [task for task in tasks.find(docker, f"{names.KIND}={KIND}") if task.service == service.id]
        wanted = [task for task in known if task.desired == "running"]
        if (state := _update_state(docker, service.id)).startswith("rollback"):
            raise errors.SwarmError(
                f"{name} does not come up as it should, and is as it was before ({state}): {_why(known)}"
            )
        expected = _expected(docker, service)
        if len([t for t in wanted if t.state == "running" and t.image == image]) >= expected and state in (
            "",
            "completed",
        ):
            return
        if time.monotonic() > deadline:
            raise errors.SwarmError(
                f"{name} does not run after {_UP_S:.0f} s: {_why(known)}; see: docker service ps {name} --no-trunc"
            )
        time.sleep(0.3)


def _expected(docker: Docker, service: services.Service) -> int:
    replicated = service.spec["Mode"].get("Replicated")
    machines = [node for node in nodes.find(docker) if node.is_usable]
    if service.name == plan.HUB:
        machines = [node for node in machines if node.role == "manager"]
    return min(replicated["Replicas"], len(machines)) if replicated else len(machines)


def _update_state(docker: Docker, service: str) -> str:
    item: dict[str, Any] = docker.get(f"/services/{service}")
    return str((item.get("UpdateStatus") or {}).get("State", ""))


def _why(known: list[tasks.Task]) -> str:
    last = max(known, key=lambda task: task.changed_at, default=None)
    return f"{last.state}: {last.error or last.message}" if last else "it has no containers"


def _wait_until_gone(docker: Docker, name: str) -> None:
    """Until its containers have ended: an executor finishes what it runs."""
    deadline = time.monotonic() + _UP_S
    while time.monotonic() < deadline:
        found = (
            docker.get("/tasks", filters=json.dumps({"service": [name]})) if _is_there(docker, name) else []
        )
        if not found:
            return
        time.sleep(0.2)


def _is_there(docker: Docker, name: str) -> bool:
    return any(service["Spec"]["Name"] == name for service in docker.get("/services"))
