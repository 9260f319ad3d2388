"""/api/v1/cluster and /api/v1/modules: the Swarm beside this hub."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from parcs.contract import cluster as shapes
from parcs.contract import tasks as contract
from parcs.hub.api.gate import Asker, Looker, TheHub, address_of
from parcs.hub.api.tasks import answer
from parcs.hub.services import access
from parcs.hub.services.access import Action
from parcs.version import VERSION

router = APIRouter(prefix=contract.API, tags=["cluster"])

Name = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200, description="Its id or name.")
]


@router.get("/about", response_model=shapes.About)
async def about(hub: TheHub, _: Looker) -> Response:
    """What this hub has."""
    return answer(shapes.About(VERSION, *hub.cluster.about))


@router.get("/cluster", response_model=shapes.Cluster)
async def look(hub: TheHub, _: Looker) -> Response:
    """Nodes, services and what runs where; networks; names of secrets and configs. 404 where there is no Swarm."""
    return answer(await hub.cluster.look())


@router.patch("/cluster/services/{name}", response_model=contract.Changed)
async def change_service(
    hub: TheHub, asker: Asker, request: Request, name: Name, change: shapes.ServiceChange
) -> Response:
    """Scale, restart, update the image, or roll back."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    changed = await hub.cluster.change_service(name, change)
    said = ", ".join(f"{key}={value}" for key, value in vars(change).items() if value not in (None, False))
    await hub.audit(asker.user, "change service", f"{changed}: {said}", address_of(request))
    return answer(contract.Changed(1))


@router.delete("/cluster/services/{name}", response_model=contract.Changed)
async def remove_service(hub: TheHub, asker: Asker, request: Request, name: Name) -> Response:
    """Remove a service, and with it its containers."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    removed = await hub.cluster.remove_service(name)
    await hub.audit(asker.user, "remove service", removed, address_of(request))
    return answer(contract.Changed(1))


@router.get("/cluster/services/{name}/logs", response_class=Response)
async def logs(hub: TheHub, asker: Asker, name: Name) -> Response:
    """The last lines that its containers printed. They may have secrets in them: for admins."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    return Response(await hub.cluster.logs(name), media_type="text/plain; charset=utf-8")


@router.delete("/cluster/stacks/{name}", response_model=contract.Changed)
async def remove_stack(hub: TheHub, asker: Asker, request: Request, name: Name) -> Response:
    """Remove every service of a stack."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    count = await hub.cluster.remove_stack(name)
    await hub.audit(asker.user, "remove stack", name, address_of(request))
    return answer(contract.Changed(count))


@router.post("/cluster/stacks/{name}/redeploy", response_model=contract.Changed)
async def redeploy_stack(hub: TheHub, asker: Asker, request: Request, name: Name) -> Response:
    """Replace its containers, service by service, each by what its image's name means now."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    count = await hub.cluster.redeploy_stack(name)
    await hub.audit(asker.user, "redeploy stack", name, address_of(request))
    return answer(contract.Changed(count))


@router.patch("/cluster/nodes/{name}", response_model=contract.Changed)
async def change_node(
    hub: TheHub, asker: Asker, request: Request, name: Name, change: shapes.NodeChange
) -> Response:
    """Drain a node, pause it, or let it take work again."""
    access.demand(asker, Action.MANAGE_CLUSTER)
    await hub.cluster.change_node(name, change.availability)
    await hub.audit(asker.user, "change node", f"{name}: {change.availability}", address_of(request))
    return answer(contract.Changed(1))


@router.get("/modules", response_model=list[shapes.ModuleImage])
async def modules(hub: TheHub, _: Looker) -> Response:
    """What the registry holds: modules, their parameters and digests."""
    return answer(await hub.cluster.modules())
