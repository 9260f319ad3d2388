"""/api/v1/jobs: programs on the Swarm beside this hub."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from parcs.contract import jobs as shapes
from parcs.contract import tasks as contract
from parcs.hub.api.gate import Asker, Looker, TheHub, address_of
from parcs.hub.api.tasks import answer
from parcs.hub.services import access
from parcs.hub.services.access import Action

router = APIRouter(prefix=contract.API, tags=["jobs"])

Name = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200, description="The job's name.")
]


@router.get("/jobs", response_model=list[shapes.Job])
async def list_all(hub: TheHub, _: Looker) -> Response:
    """All jobs of the Swarm, the newest first."""
    return answer(await hub.jobs.list_all())


@router.post("/jobs", status_code=201, response_model=dict[str, str])
async def start(hub: TheHub, asker: Asker, request: Request, wanted: shapes.JobRequest) -> Response:
    """Run a module of the registry as a job. The first puts PARCS's engine server on the Swarm."""
    access.demand(asker, Action.RUN_JOBS)
    job = await hub.jobs.start(wanted)
    await hub.audit(asker.user, "start job", f"{job} ({wanted.module})", address_of(request))
    return answer({"job": job}, 201)


@router.get("/jobs/{name}", response_model=shapes.JobDetail)
async def show(hub: TheHub, _: Looker, name: Name) -> Response:
    """A job whole: its programs, where they run, and how each came to run."""
    return answer(await hub.jobs.show(name))


@router.get("/jobs/{name}/channels", response_model=list[shapes.Flow])
async def channels(hub: TheHub, _: Looker, name: Name) -> Response:
    """What its channels have carried so far, and who waits there: those with the most bytes first."""
    return answer(await hub.jobs.channels(name))


@router.get("/jobs/{name}/lines", response_model=list[shapes.Line])
async def lines(
    hub: TheHub, _: Looker, name: Name, after: Annotated[int, Query(ge=0, le=2**62)] = 0
) -> Response:
    """What its programs printed, merged, after a line's number."""
    return answer(await hub.jobs.lines(name, after))


@router.post("/jobs/{name}/stop", response_model=contract.Changed)
async def stop(hub: TheHub, asker: Asker, request: Request, name: Name) -> Response:
    """End a job and all its points."""
    access.demand(asker, Action.RUN_JOBS)
    await hub.jobs.stop(name)
    await hub.audit(asker.user, "stop job", name, address_of(request))
    return answer(contract.Changed(1))


@router.delete("/jobs/{name}", response_model=contract.Changed)
async def forget(hub: TheHub, asker: Asker, request: Request, name: Name) -> Response:
    """Remove an ended job from the list, with what it printed."""
    access.demand(asker, Action.RUN_JOBS)
    await hub.jobs.forget(name)
    await hub.audit(asker.user, "remove job", name, address_of(request))
    return answer(contract.Changed(1))
