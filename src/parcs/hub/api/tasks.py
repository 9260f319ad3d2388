"""/api/v1/tasks and /api/v1/archives."""

from __future__ import annotations

import asyncio
import codecs
import functools
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import msgspec
import pydantic
from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.api.gate import Asker, Key, Looker, TheHub, address_of
from parcs.hub.api.streams import Stream
from parcs.hub.state import Hub

router = APIRouter(prefix=contract.API, tags=["tasks"])

MOST: Final = 1000
_PIECE: Final = 1 << 20
_decoder: Final = functools.partial(codecs.getincrementaldecoder("utf-8"), "replace")
_LARGEST: Final = 2**62
_BULK: Final = pydantic.TypeAdapter(list[contract.TaskRequest])
_EXAMPLE: Final = {
    "command": ["./main"],
    "compile": {"command": "g++ -g -Wall -o main main.cpp", "timeout_s": 10},
    "stdin": "Hello World!",
    "timeout_s": 1,
    "files": {
        "main.cpp": "#include <iostream>\nint main() { char line[256]; std::cin.getline(line, 256); "
        'std::cout << "From Khala: " << line << std::endl; }\n'
    },
}
Number = Annotated[int, Path(ge=1, le=_LARGEST, description="The task's number.")]
Which = Annotated[int, Query(ge=0, le=1 << 31, description="The attempt's number; 0 is the last.")]


def answer(value: Any, status: int = 200) -> Response:
    """A value of the contract as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def query_of(
    ids: Annotated[list[int], Query(alias="id", description="May be given several times.")] = [],  # noqa: B006  # FastAPI's way
    states: Annotated[list[str], Query(alias="state")] = [],  # noqa: B006
    user: str | None = None,
    name: str | None = None,
    label: Annotated[list[str], Query(description="NAME=VALUE; may be given several times.")] = [],  # noqa: B006
    text: Annotated[str | None, Query(description="Part of the name or the command.")] = None,
    array: Annotated[int | None, Query(description="The first task of an array.")] = None,
    created_from: float | None = None,
    created_until: float | None = None,
    executor: Annotated[
        str | None, Query(description="The id of the executor that has it, or had it last.")
    ] = None,
) -> contract.Query:
    """The query that a URL means."""
    labels = {}
    for pair in label:
        key, sign, value = pair.partition("=")
        if not sign:
            raise errors.InvalidRequestError(f"{pair!r} should look like NAME=VALUE", "label")
        labels[key] = value
    return contract.Query(ids, states, user, name, labels, text, array, created_from, created_until, executor)


UrlQuery = Annotated[contract.Query, Depends(query_of)]


@router.post("/tasks", status_code=201, response_model=contract.Submitted)
async def submit(
    hub: TheHub,
    asker: Asker,
    request: Annotated[contract.TaskRequest, Body(openapi_examples={"C++": {"value": _EXAMPLE}})],
    key: Key = "",
) -> Response:
    """Submit a task, or an array of them. It is answered when they are committed."""
    return answer(await hub.work.submit(asker, [request], key), 201)


@router.post("/tasks/run", response_model=contract.TaskDetail)
async def run(
    hub: TheHub,
    asker: Asker,
    request: contract.TaskRequest,
    key: Key = "",
    wait_s: Annotated[
        float, Query(ge=0, le=60, description="Answer after so long, if it is not over.")
    ] = 30.0,
) -> Response:
    """Submit a task, and be answered with it when it is over: one request for a short one."""
    return answer(await hub.work.run(asker, request, key, wait_s))


@router.post(
    "/tasks/bulk",
    status_code=201,
    response_model=contract.Submitted,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": {"$ref": "#/components/schemas/TaskRequest"}}
                }
            },
        }
    },
)
async def submit_all(hub: TheHub, asker: Asker, request: Request, key: Key = "") -> Response:
    """Submit many tasks, all or none."""
    body = await request.body()
    try:
        requests = await asyncio.to_thread(_BULK.validate_json, body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise errors.InvalidRequestError(first["msg"], where) from None
    return answer(await hub.work.submit(asker, requests, key), 201)


@router.get("/tasks", response_model=contract.TaskPage)
async def search(
    hub: TheHub,
    _: Looker,
    query: UrlQuery,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(description="As `next` of the page before.")] = None,
    order: Annotated[
        str, Query(pattern="^(asc|desc)$", description="By number: desc is the newest first.")
    ] = "desc",
) -> Response:
    """Search tasks."""
    return answer(await hub.work.page(query, cursor=cursor, limit=limit, is_ascending=order == "asc"))


@router.get("/tasks/counts", response_model=dict[str, int])
async def counts(hub: TheHub, _: Looker, query: UrlQuery) -> Response:
    """How many tasks are in each state."""
    return answer(await hub.work.counts(query))


@router.post("/tasks/wait", response_model=dict[str, int])
async def wait(
    hub: TheHub, _: Looker, query: contract.Query, timeout_s: Annotated[float, Query(ge=0, le=60)] = 30.0
) -> Response:
    """As counts, but answered when none of these tasks is left to end, or after ``timeout_s``."""
    return answer(await hub.work.wait(query, timeout_s))


@router.post("/tasks/cancel", response_model=contract.Changed)
async def cancel_all(hub: TheHub, asker: Asker, request: Request, query: contract.Query) -> Response:
    """Cancel all tasks that a query means. Those that run are dead within two seconds."""
    count = await hub.work.cancel(asker, query)
    await hub.audit(asker.user, "cancel", msgspec.json.encode(query).decode(), address_of(request))
    return answer(contract.Changed(count))


@router.post("/tasks/delete", response_model=contract.Changed)
async def delete_all(hub: TheHub, asker: Asker, request: Request, query: contract.Query) -> Response:
    """Delete all tasks that a query means and that are over."""
    count = await hub.work.delete(asker, query)
    await hub.audit(asker.user, "delete", msgspec.json.encode(query).decode(), address_of(request))
    return answer(contract.Changed(count))


@router.get("/tasks/{number}", response_model=contract.TaskDetail)
async def detail(
    hub: TheHub,
    _: Looker,
    number: Number,
    wait_s: Annotated[
        float, Query(ge=0, le=60, description="Answer when it is over, or after so long.")
    ] = 0.0,
) -> Response:
    """A task whole, with its attempts and the beginnings of what they wrote."""
    return answer(await hub.work.detail_when_over(number, wait_s))


@router.delete("/tasks/{number}", response_model=contract.Changed)
async def delete(hub: TheHub, asker: Asker, request: Request, number: Number) -> Response:
    """Delete a task that is over, with all that it wrote."""
    await hub.work.check_own(asker, number)
    count = await hub.work.delete(asker, contract.Query(ids=[number]))
    if not count:
        raise errors.ConflictError(f"task {number} is not over; cancel it first")
    await hub.audit(asker.user, "delete", f"task {number}", address_of(request))
    return answer(contract.Changed(count))


@router.post("/tasks/{number}/cancel", response_model=contract.Changed)
async def cancel(hub: TheHub, asker: Asker, request: Request, number: Number) -> Response:
    """Cancel a task: at once if it waits; within two seconds its processes are dead if it runs."""
    task = await hub.work.check_own(asker, number)
    count = await hub.work.cancel(asker, contract.Query(ids=[number]))
    if not count and task.state != "cancelled":  # asked twice, it is answered as the first time
        raise errors.ConflictError(f"task {number} is over")
    await hub.audit(asker.user, "cancel", f"task {number}", address_of(request))
    return answer(contract.Changed(count))


@router.post("/tasks/{number}/rerun", status_code=201, response_model=contract.Submitted)
async def rerun(hub: TheHub, asker: Asker, number: Number, key: Key = "") -> Response:
    """Submit the same once more."""
    return answer(await hub.work.rerun(asker, number, key), 201)


@router.get("/tasks/{number}/explain", response_model=dict[str, str])
async def explain(hub: TheHub, _: Looker, number: Number) -> Response:
    """Why it waits, or why it ended, in words."""
    task = await hub.work.task(number)
    return answer({"state": task.state, "why": await hub.work.explain(number)})


@router.get("/tasks/{number}/output/{name:path}", response_class=Response)
async def output(
    hub: TheHub,
    _: Looker,
    number: Number,
    name: Annotated[str, Path(description="stdout, stderr, compile_stdout, compile_stderr, or file/PATH.")],
    attempt: Which = 0,
    start: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=1 << 30, description="Bytes.")] = 1 << 30,
) -> Response:
    """What an attempt wrote, as it is."""
    _check_name(name)
    data = await hub.work.output(number, name, attempt, start, limit)
    kind = "text/plain; charset=utf-8" if name in contract.STREAMS else "application/octet-stream"
    return Response(data, media_type=kind, headers={"Content-Disposition": "attachment"})


@router.get("/tasks/{number}/output.zip", response_class=Response)
async def everything(hub: TheHub, _: Looker, number: Number, attempt: Which = 0) -> Response:
    """All that an attempt wrote, streams and files, as a zip archive."""
    data = await hub.work.everything(number, attempt)
    headers = {"Content-Disposition": f'attachment; filename="task-{number}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


@router.get("/tasks/{number}/follow", response_class=Response)
async def follow(hub: TheHub, _: Looker, number: Number) -> Response:
    """Server-sent events: ``output`` with stream, position and text as it is written; ``state``.

    At last ``end``.
    """
    await hub.work.task(number)
    return Stream(hub, _follow(hub, number))


async def _follow(hub: Hub, number: int) -> AsyncGenerator[str, None]:
    read: dict[str, int] = {}
    decoders = {stream: _decoder() for stream in contract.STREAMS}
    attempt, state = 0, ""
    async with hub.changes.watch() as watcher:
        while True:
            task = await hub.work.task(number)
            if task.attempt != attempt:
                attempt, read = task.attempt, {}
                decoders = {stream: _decoder() for stream in contract.STREAMS}
            if task.state != state:
                state = task.state
                yield event("state", {"state": state, "attempt": attempt, "why": task.why})
            for stream in contract.STREAMS if attempt else ():
                while data := await hub.work.output(number, stream, attempt, read.get(stream, 0), _PIECE):
                    position = read.get(stream, 0)
                    read[stream] = position + len(data)
                    text = decoders[stream].decode(data)
                    yield event(
                        "output", {"stream": stream, "position": position, "next": read[stream], "text": text}
                    )
            if task.ended is not None:
                yield event("end", {"state": state, "why": task.why, "exit_code": task.exit_code})
                return
            yield ": still here\n\n"
            try:
                async with asyncio.timeout(1.0):  # another hub may have the news
                    while (await watcher.get()).id != number:
                        pass
            except TimeoutError:
                pass


def event(kind: str, value: Any) -> str:
    """A server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"


@router.post("/archives", status_code=201, response_model=contract.Uploaded, tags=["archives"], openapi_extra={
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string",
    "format": "binary"}}}}
})  # fmt: skip
async def upload(hub: TheHub, asker: Asker, request: Request) -> Response:
    """Upload a zip or tar archive for tasks: the body is the archive. Tasks name it by its digest."""
    return answer(await hub.work.upload(asker, await request.body()), 201)


@router.get("/archives/{digest}", response_class=Response, tags=["archives"])
async def archive(hub: TheHub, _: Asker, digest: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
    """An archive, as a zip."""
    return Response(await hub.work.archive(digest), media_type="application/zip")


@router.get("/archives/{digest}/files", response_model=contract.ArchiveFiles, tags=["archives"])
async def archive_files(
    hub: TheHub, _: Asker, digest: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
) -> Response:
    """What is in an archive, as far as it is text and not much."""
    return answer(await hub.work.archive_files(digest))


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise errors.NotFoundError("there is no such output") from None
    if "\0" in name:
        raise errors.NotFoundError("there is no such output")
