"""Khala's HTTP interface, for clients that know it: /api/test, task, task/list, executors, judicators.

A thin layer over the same tasks: its codes, states, filters, downloads and limits, as Khala's documents have them.
Khala knows no tokens: requests without one act as the user that PARCS_HUB_KHALA_USER names, and are refused if none
is named.
"""

from __future__ import annotations

import dataclasses
import math
import socket
import time
from typing import Annotated, Any, Final

from dateutil import parser as dates
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import FormData, UploadFile

from parcs import archive, errors
from parcs.contract import tasks as contract
from parcs.hub.api.gate import TheHub, secret_of
from parcs.hub.services import access
from parcs.hub.services.access import Action
from parcs.hub.state import Hub
from parcs.hub.store import executors
from parcs.hub.store.people import Bearer
from parcs.model.task import TaskState

router = APIRouter(prefix="/api", include_in_schema=False)

_OK, _ERROR, _NOT_EXIST, _TOO_LARGE, _INVALID = range(5)
_STATUS: Final = {
    TaskState.QUEUED: 0, TaskState.COMPILING: 1, TaskState.COMPILE_FAILED: 2, TaskState.RUNNING: 3,
    TaskState.FAILED: 4, TaskState.TIMED_OUT: 4, TaskState.SUCCEEDED: 5, TaskState.CANCELLED: 7, TaskState.LOST: 8,
}  # fmt: skip
_RETRYING: Final = 6
_LARGEST: Final = 16_252_928
_SHOWN: Final = 1000
_MOST_USER: Final = 2**31 - 1
_USER: Final = "khala.user"
_DATA: Final = "data/"
_TEXTS: Final = {
    "compile_output": "compile_stdout", "compile_error": "compile_stderr",
    "execute_output": "stdout", "execute_error": "stderr",
}  # fmt: skip


async def bearer_of(request: Request, hub: TheHub) -> Bearer:
    """Who asks: by a token, or as the user for Khala's clients."""
    if secret := secret_of(request.headers, {}):
        return await hub.access.bearer(secret)
    if hub.settings.khala_user and (known := await hub.access.as_user(hub.settings.khala_user)) is not None:
        return known
    raise errors.NotLoggedInError(
        "Khala's interface is for requests with a token, or for all if PARCS_HUB_KHALA_USER names a user to act as"
    )


Asker = Annotated[Bearer, Depends(bearer_of)]


@router.get("/test")
async def test() -> Response:
    """Whether it works."""
    return PlainTextResponse("Khala gateway server is working.")


@router.post("/task")
async def add(request: Request, hub: TheHub, asker: Asker) -> Response:
    """Add a task: a form, as Khala's page sends it."""
    if int(request.headers.get("content-length", "0") or 0) >= _LARGEST:
        return _code(_TOO_LARGE)
    form = await request.form(max_part_size=_LARGEST)
    try:
        user = int(_text(form, "user"))
        if not 0 <= user <= _MOST_USER:
            raise errors.InvalidRequestError("is no user's number", "user")
        wanted = await _request(form, user)
        files = await _files(form)
        if files:
            wanted = dataclasses.replace(
                wanted, archive=(await hub.work.upload(asker, archive.pack(files))).digest
            )
        done = await hub.work.submit(asker, [wanted])
    except (errors.InvalidRequestError, errors.ArchiveError, ValueError):
        return _code(_INVALID)
    except errors.TooMuchError:
        return _code(_TOO_LARGE)
    return JSONResponse({"result": _OK, "id": _id(done.first)})


@router.delete("/task")
async def cancel(hub: TheHub, asker: Asker, id: str = "") -> Response:  # Khala's name
    """Cancel a task that is not over."""
    if (number := _number(id)) is None:
        return _code(_INVALID)
    return _code(_OK if await hub.work.cancel(asker, contract.Query(ids=[number])) else _NOT_EXIST)


@router.get("/task/list")
async def search(
    hub: TheHub,
    asker: Asker,
    id: str = "",  # Khala's name
    user: str = "",
    start_time: str = "",
    end_time: str = "",
    old_to_new: str = "",
    limit: str = "0",
    page: str = "0",
) -> Response:
    """Search tasks; limit 0 is all."""
    access.demand(asker, Action.LOOK)
    try:
        size, which = int(limit or 0), int(page or 0)
        number = _number(id) if id else None
        if size < 0 or which < 0 or (id and number is None):
            raise ValueError
        query = contract.Query(
            ids=[number] if number else [],
            labels={_USER: str(int(user))} if user else {},
            created_from=_time(start_time),
            created_until=_time(end_time),
        )
    except (ValueError, OverflowError):
        return _code(_INVALID)
    total = sum((await hub.work.counts(query)).values())
    skip, wanted = (which * size, size) if size else (0, total)
    found: list[contract.Task] = []
    cursor: str | None = None
    while len(found) < skip + wanted:
        some = await hub.work.page(query, cursor=cursor, limit=1000, is_ascending=bool(old_to_new))
        found += some.tasks
        if (cursor := some.next) is None:
            break
    pages = math.ceil(total / size) if size else 1
    return JSONResponse(
        {"result": _OK, "pages": pages, "tasks": [_row(t) for t in found[skip : skip + wanted]]}
    )


@router.get("/task")
async def get(hub: TheHub, asker: Asker, id: str = "", file: str = "", no_truncate: str = "") -> Response:
    """A task whole, or one of its files."""
    access.demand(asker, Action.LOOK)
    if (number := _number(id)) is None:
        return Response(status_code=404) if file else _code(_INVALID)
    try:
        detail = await hub.work.detail(number)
    except errors.NotFoundError:
        return Response(status_code=404) if file else _code(_NOT_EXIST)
    texts = await _all_texts(hub, detail)
    if file in ("compile_source", "execute_data"):
        return await _zip(hub, detail, file)
    if file:
        if not texts.get(file):
            return Response(status_code=404)
        return _attachment(texts[file].encode(), f"{_id(number)}_{file}.txt", "text/plain")
    if not no_truncate:
        texts = {name: text if len(text) <= _SHOWN else text[:_SHOWN] + "..." for name, text in texts.items()}
    request = detail.request
    step = request.compile
    return JSONResponse({
        "result": _OK,
        "task": {
            **_row(detail.task),
            "compile": {"command": texts["compile_command"], "timeout": int(step.timeout_s) if step else 0},
            "execute": {
                "input": texts["execute_input"], "command": texts["execute_command"],
                "timeout": int(request.timeout_s or 0), "standard": texts["execute_standard"],
            },
            "result": {name: texts[name] for name in _TEXTS},
        },
    })  # fmt: skip


@router.get("/executors")
async def list_executors(hub: TheHub, asker: Asker) -> Response:
    """Executors that are there."""
    access.demand(asker, Action.LOOK)
    live = await hub.database.read(lambda c: executors.list_all(c, is_live=True))
    return JSONResponse([{"id": e.id, "hostname": e.host, "report_time": _moment(e.last_seen)} for e in live])


@router.get("/judicators")
async def judicators(hub: TheHub, asker: Asker) -> Response:
    """Hubs: what Khala calls its judicators."""
    access.demand(asker, Action.LOOK)
    return JSONResponse(
        [{"name": socket.gethostname(), "address": f"{hub.settings.host}:{hub.settings.port}"}]
    )


async def _request(form: FormData, user: int) -> contract.TaskRequest:
    step = _text(form, "compile_command")
    compile_s, execute_s = (int(_text(form, f"{kind}_timeout") or 0) for kind in ("compile", "execute"))
    if compile_s < 0 or execute_s < 0:
        raise errors.InvalidRequestError("is negative", "timeout")
    standard = _text(form, "execute_standard")
    if not _text(form, "execute_command").strip():
        raise errors.InvalidRequestError("is empty", "execute_command")
    return contract.TaskRequest(
        command=["bash", "-c", _text(form, "execute_command")],
        compile=contract.Compile(["bash", "-c", step], compile_s) if step.strip() else None,
        stdin=_text(form, "execute_input"),
        timeout_s=execute_s or None,
        expected=standard or None,
        labels={_USER: str(user)},
    )


async def _files(form: FormData) -> dict[str, archive.File]:
    """The source, and beside it the data in a folder of their own."""
    found: dict[str, archive.File] = {}
    for kind, prefix in (("compile_source", ""), ("execute_data", _DATA)):
        upload = form.get(kind)
        if isinstance(upload, UploadFile) and upload.filename:
            files = archive.read(await upload.read())
        elif name := _text(form, f"{kind}_name"):
            files = archive.of_texts({name: _text(form, f"{kind}_str")})
        else:
            files = {}
        found |= {prefix + path: file for path, file in files.items()}
    return found


async def _all_texts(hub: Hub, detail: contract.TaskDetail) -> dict[str, str]:
    request, task = detail.request, detail.task
    step = request.compile

    def line(command: Any) -> str:
        return command if isinstance(command, str) else command[-1]

    texts = {
        "compile_command": line(step.command) if step else "",
        "execute_input": request.stdin,
        "execute_command": line(request.command),
        "execute_standard": request.expected or "",
    }
    for name, stream in _TEXTS.items():
        texts[name] = (await hub.work.output(task.id, stream, 0, 0, 1 << 30)).decode(errors="replace")
    for prefix, kind in (("compile", "Compile"), ("execute", "Execution")):
        if task.why.startswith("compiling: ") == (prefix == "compile"):
            if task.state == TaskState.TIMED_OUT:
                texts[f"{prefix}_error"] = f"{kind} time out."
            elif "of output and was ended" in task.why:
                texts[f"{prefix}_error"] = f"{kind} output limitation exceeded."
    return texts


async def _zip(hub: Hub, detail: contract.TaskDetail, kind: str) -> Response:
    if detail.request.archive is None:
        return Response(status_code=404)
    files = archive.read(await hub.work.archive(detail.request.archive))
    is_data = kind == "execute_data"
    wanted = {
        path.removeprefix(_DATA) if is_data else path: f
        for path, f in files.items()
        if path.startswith(_DATA) == is_data
    }
    if not wanted:
        return Response(status_code=404)
    return _attachment(archive.pack(wanted), f"{_id(detail.task.id)}_{kind}.zip", "application/zip")


def _row(task: contract.Task) -> dict[str, Any]:
    status = _STATUS[TaskState(task.state)]
    if task.state == TaskState.QUEUED and task.attempt:
        status = _RETRYING
    if task.state == TaskState.TIMED_OUT and task.why.startswith("compiling: "):
        status = _STATUS[TaskState.COMPILE_FAILED]
    return {
        "id": _id(task.id), "user": int(task.labels.get(_USER, "0")), "add_time": _moment(task.created),
        "done": task.ended is not None, "status": status,
        "executor": task.executor if task.state != TaskState.CANCELLED else None,
        "report_time": None if task.started is None else _moment(task.ended or task.started),
    }  # fmt: skip


def _code(code: int) -> Response:
    return JSONResponse({"result": code})


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def _id(number: int) -> str:
    return f"{number:024x}"


def _number(text: str) -> int | None:
    """A task's number; None if the id is none of Khala's form."""
    if len(text) != 24 or not set(text.lower()) <= set("0123456789abcdef"):
        return None
    return int(text, 16) % (1 << 62) or 1 << 61


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _time(text: str) -> float | None:
    return dates.parse(text).timestamp() if text else None


def _attachment(data: bytes, name: str, kind: str) -> Response:
    return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
