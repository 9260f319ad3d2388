"""The Swarm that a hub stands beside: looked at, and changed, through the Docker Engine of a manager."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from parcs import errors
from parcs.contract import cluster as contract

if TYPE_CHECKING:
    from parcs.dockerapi import services
    from parcs.dockerapi.client import Docker
    from parcs.dockerapi.tasks import Task

Answer = TypeVar("Answer")
_KNOWN_S: Final = 0.8
"""For how long an answer is for everybody: a hundred pages ask the Engine as often as one."""
_STACK: Final = "com.docker.stack.namespace"
_STACK_IMAGE: Final = "com.docker.stack.image"
_OWN: Final = "parcs."
_AVAILABILITIES: Final = ("active", "pause", "drain")
_THREADS: Final = 8
_TAIL: Final = 500
_LOG_S: Final = 5.0


class Clusters:
    """The Swarm at one Docker Engine.

    Args:
        where: as `parcs.dockerapi.client.Docker` takes it; empty if this hub has none.
        registry: where its modules are.
    """

    def __init__(self, where: str, registry: str, clock: Callable[[], float]) -> None:
        self._where, self.registry, self._clock = where, registry, clock
        self._docker: Docker | None = None
        # Threads of its own: an Engine that does not answer holds up no login, and no submission.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="parcs-swarm")
        self._lock = threading.Lock()
        self._seen: tuple[float, contract.Cluster] | None = None

    @property
    def about(self) -> tuple[bool, bool]:
        """Whether this hub has a Swarm, and a registry."""
        return bool(self._where), bool(self._where and self.registry)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do what waits for the Swarm in one of its threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for nothing that has not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> contract.Cluster:
        """The Swarm as it is.

        Raises:
            NotFoundError: this hub has none.
            DockerError, SwarmError: it cannot be asked.
        """
        return await self.run(self._look)

    async def change_service(self, name: str, change: contract.ServiceChange) -> str:
        """Scale, restart, update or roll back; gives the service's name."""
        return await self._change(lambda docker: _change_service(docker, name, change))

    async def remove_service(self, name: str) -> str:
        """Remove a service and its containers; gives its name."""
        return await self._change(lambda docker: _remove_service(docker, name))

    async def remove_stack(self, name: str) -> int:
        """Remove every service of a stack; gives how many there were."""
        return await self._change(lambda docker: _remove_stack(docker, name))

    async def redeploy_stack(self, name: str) -> int:
        """Replace all containers of a stack, each by what its image's name means now; gives how many services."""
        return await self._change(lambda docker: _redeploy_stack(docker, name))

    async def change_node(self, name: str, availability: str) -> None:
        """What a node is to take."""
        if availability not in _AVAILABILITIES:
            raise errors.InvalidRequestError("is active, pause or drain", "availability")
        from parcs.dockerapi import nodes

        await self._change(lambda docker: nodes.set_availability(docker, name, availability))

    async def logs(self, name: str) -> str:
        """The last lines that a service's containers printed, each with its node."""
        return await self.run(lambda: _logs(self.engine(), name))

    async def modules(self) -> list[contract.ModuleImage]:
        """What the registry holds."""
        return await self.run(self._modules)

    async def _change(self, work: Callable[[Docker], Answer]) -> Answer:
        def do() -> Answer:
            try:
                return work(self.engine())
            except errors.DockerError as error:
                raise _said(error) from error
            finally:
                self._seen = None

        return await self.run(do)

    def engine(self) -> Docker:
        """The Docker Engine.

        Raises:
            NotFoundError: this hub has none.
        """
        if not self._where:
            raise errors.NotFoundError(
                "this hub has no Swarm; start it on a manager with PARCS_HUB_DOCKER=unix:///var/run/docker.sock"
            )
        try:
            from parcs.dockerapi.client import Docker
        except ModuleNotFoundError:
            raise errors.SwarmError('to look at a Swarm the hub needs: pip install "parcs[swarm]"') from None
        if self._docker is None:
            self._docker = Docker(self._where)
        return self._docker

    def _look(self) -> contract.Cluster:
        with self._lock:  # whoever comes meanwhile has the same answer
            now = self._clock()
            if self._seen is None or now - self._seen[0] > _KNOWN_S:
                self._seen = now, _look(self.engine(), now)
            return self._seen[1]

    def _modules(self) -> list[contract.ModuleImage]:
        if not self.registry:
            raise errors.NotFoundError(
                "this hub knows no registry; start it with PARCS_HUB_REGISTRY=HOST:PORT, "
                "where parcs module push goes"
            )
        from parcs.image.repository import Repository

        repository = Repository(self.engine(), self.registry)
        return [_module(image) for name in repository.names() for image in repository.tags(name)]


def _module(image: dict[str, Any]) -> contract.ModuleImage:
    parameters = {
        name: contract.Parameter(
            str(about.get("type", "")),
            None if about.get("default") is None else str(about["default"]),
            str(about.get("help", "")),
        )
        for name, about in image["parameters"].items()
    }
    return contract.ModuleImage(
        image["name"], image["tag"], image["digest"], image["size"], image["platform"], image["language"],
        image["description"], parameters,
    )  # fmt: skip


def _look(docker: Docker, now: float) -> contract.Cluster:
    from parcs.dockerapi import nodes, services, tasks

    info = nodes.check_manager(docker)
    found = tasks.find(docker)
    kept = _worth_showing(found)
    services_found = sorted(services.find(docker), key=lambda each: each.name)
    return contract.Cluster(
        now, str(info.get("ServerVersion", "")), _nodes(docker, found),
        [_service(each, found) for each in services_found],
        [
            contract.Replica(t.id, t.service, t.slot, t.node, t.state, t.desired, t.error or t.message,
                             t.image.partition("@")[0], t.changed_at)
            for t in kept
        ],
        [
            contract.Network(n["Id"], n["Name"], n.get("Driver", ""), n.get("Scope", ""), _subnets(n))
            for n in sorted(docker.get("/networks"), key=lambda n: str(n["Name"]))
        ],
        _named(docker.get("/secrets")), _named(docker.get("/configs")),
        [
            contract.Named(v["Name"], v["Name"], tasks.parse_time(v.get("CreatedAt", "")))
            for v in docker.get("/volumes").get("Volumes") or []
        ],
    )  # fmt: skip


def _nodes(docker: Docker, found: Sequence[Task]) -> list[contract.Node]:
    from parcs.dockerapi import nodes

    running = [task for task in found if task.state == "running"]
    return [
        contract.Node(
            n.id, n.name, n.role, n.is_leader, n.state, n.availability, n.address, f"{n.os}/{n.architecture}",
            n.cpus, n.memory, n.gpus, sum(t.cpus for t in running if t.node == n.id),
            sum(t.memory for t in running if t.node == n.id), n.labels,
        )
        for n in nodes.find(docker)
    ]  # fmt: skip


def _service(service: services.Service, found: Sequence[Task]) -> contract.Service:
    from parcs.dockerapi.tasks import parse_time

    spec = service.spec
    mode = next(iter(spec.get("Mode") or {"Replicated": None}))
    replicated = (spec.get("Mode") or {}).get("Replicated")
    template = spec["TaskTemplate"].get("ContainerSpec") or {}
    ports = [
        f"{p.get('PublishedPort', '')}:{p.get('TargetPort', '')}/{p.get('Protocol', 'tcp')}"
        for p in (spec.get("EndpointSpec") or {}).get("Ports") or []
    ]
    return contract.Service(
        service.id, service.name, service.labels.get(_STACK, ""), str(template.get("Image", "")).partition("@")[0],
        mode.lower(), None if replicated is None else int(replicated.get("Replicas", 1)),
        sum(t.state == "running" and t.desired == "running" for t in found if t.service == service.id), ports,
        parse_time(service.created_at), service.updating,
        any(label.startswith(_OWN) for label in service.labels),
    )  # fmt: skip


def _worth_showing(found: Sequence[Task]) -> list[Task]:
    """What is wanted, and of each slot without that the last that went wrong."""
    wanted = [task for task in found if task.desired in ("running", "ready") or not task.is_over]
    places = {_place(task) for task in wanted if not task.is_over}
    failed: dict[tuple[str, int, str], Task] = {}
    for task in sorted(found, key=lambda each: each.changed_at):
        if task.state in ("failed", "rejected") and _place(task) not in places:
            failed[_place(task)] = task
    known = {task.id for task in wanted}
    return [*wanted, *(task for task in failed.values() if task.id not in known)]


def _place(task: Task) -> tuple[str, int, str]:
    """A service's slot; of a global service, which has none, its place on a node."""
    return task.service, task.slot, "" if task.slot else task.node


def _change_service(docker: Docker, name: str, change: contract.ServiceChange) -> str:
    from parcs.dockerapi import services

    service = services.inspect(docker, name)
    if change.rollback:
        services.roll_back(docker, service)
        return service.name
    spec = copy.deepcopy(service.spec)
    template = spec["TaskTemplate"]
    if change.replicas is not None:
        if "Replicated" not in spec["Mode"]:
            raise errors.InvalidRequestError(
                "this service has as many replicas as there are nodes", "replicas"
            )
        if not 0 <= change.replicas <= 10_000:
            raise errors.InvalidRequestError("is from 0 to 10000", "replicas")
        spec["Mode"]["Replicated"]["Replicas"] = change.replicas
    if change.image is not None:
        if not change.image.strip():
            raise errors.InvalidRequestError("needs the name of an image", "image")
        template["ContainerSpec"]["Image"] = _pinned(docker, change.image.strip())
    if change.restart:
        template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
    services.update(docker, service, spec)
    return service.name


def _pinned(docker: Docker, image: str) -> str:
    """The image by its digest, if its registry says it: else nodes may run different ones."""
    from parcs.dockerapi import images

    if "@" in image:
        return image
    try:
        found = images.inspect_remote(docker, image, images.stored_credentials(images.registry_of(image)))
    except errors.ImageMissingError as error:
        raise errors.InvalidRequestError(str(error), "image") from error
    return f"{image}@{found.digest}" if found.digest else image


def _remove_service(docker: Docker, name: str) -> str:
    from parcs.dockerapi import services

    service = services.inspect(docker, name)
    services.remove(docker, service.id)
    return service.name


def _services_of(docker: Docker, stack: str) -> list[services.Service]:
    from parcs.dockerapi import services

    if not (found := services.find(docker, f"{_STACK}={stack}")):
        raise errors.NotFoundError(f"there is no stack {stack!r}")
    return found


def _remove_stack(docker: Docker, name: str) -> int:
    from parcs.dockerapi import services

    found = _services_of(docker, name)
    for service in found:
        services.remove(docker, service.id)
    return len(found)


def _redeploy_stack(docker: Docker, name: str) -> int:
    found = _services_of(docker, name)
    for service in found:
        # `docker stack deploy` notes what the file said; in the service itself it is pinned to a digest.
        pinned = service.spec["TaskTemplate"]["ContainerSpec"]["Image"]
        image = service.spec.get("Labels", {}).get(_STACK_IMAGE) or pinned.partition("@")[0]
        _change_service(docker, service.id, contract.ServiceChange(image=image, restart=True))
    return len(found)


def _logs(docker: Docker, name: str) -> str:
    from parcs.dockerapi import nodes, services

    try:
        service = services.inspect(docker, name)
    except errors.DockerError as error:
        raise _said(error) from error
    names = {node.id: node.name for node in nodes.find(docker)}
    logs = services.Logs(docker, service.id, is_following=False, timeout_s=_LOG_S, tail=_TAIL)
    return "".join(f"{names.get(line.node, line.node[:12])} | {line.text}\n" for line in logs)


def _said(error: errors.DockerError) -> errors.ParcsError:
    """What an Engine refuses for a reason of whoever asked."""
    if error.status == 404:
        return errors.NotFoundError(str(error))
    if "out of sequence" in str(error):
        return errors.ConflictError("somebody else has just changed it; look, and try again")
    if error.status in (400, 409, 412):
        return errors.ConflictError(str(error))
    return error


def _named(items: Sequence[dict[str, Any]] | None) -> list[contract.Named]:
    from parcs.dockerapi.tasks import parse_time

    found = [
        contract.Named(item["ID"], item["Spec"]["Name"], parse_time(item.get("CreatedAt", "")))
        for item in items or []
    ]
    return sorted(found, key=lambda each: each.name)


def _subnets(network: dict[str, Any]) -> list[str]:
    configuration = (network.get("IPAM") or {}).get("Config") or []
    return [each["Subnet"] for each in configuration if each.get("Subnet")]
