"""/api/v1/executors: the list, and the WebSocket by which they come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response, WebSocket, WebSocketDisconnect

from parcs import errors
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.hub.api.gate import Asker, Looker, TheHub, address_of, executor_of
from parcs.hub.api.tasks import answer
from parcs.hub.services import access
from parcs.hub.services.access import Action
from parcs.hub.state import Hub
from parcs.hub.store import executors

logger = logging.getLogger("parcs.hub")
router = APIRouter(prefix=contract.API, tags=["executors"])

_STATES: Final = {"drain": "draining", "enable": "active", "disable": "disabled"}
_HELLO_S: Final = 10.0
_LEAVING: Final = 1000
_UNAUTHORISED: Final = 4401


@router.get("/executors", response_model=list[contract.Executor])
async def list_all(hub: TheHub, _: Looker) -> Response:
    """Every executor, and how it is."""
    return answer(await hub.database.read(executors.list_all))


@router.get("/executors/loads", response_model=dict[str, contract.Load])
async def loads(hub: TheHub, _: Looker) -> Response:
    """How busy each was in the last quarter of an hour, by its id."""
    return answer(hub.pulse.loads())


@router.post("/executors/{name}/{verb}", response_model=contract.Changed)
async def change(
    hub: TheHub,
    asker: Asker,
    request: Request,
    name: Annotated[str, Path(description="Its id.")],
    verb: Annotated[str, Path(pattern="^(drain|enable|disable)$")],
) -> Response:
    """Drain: it takes nothing new. Disable: as drain, until it is enabled."""
    access.demand(asker, Action.MANAGE_EXECUTORS)
    if "\0" in name or not name.isascii():
        raise errors.NotFoundError("there is no such executor")
    if not await hub.database.write(lambda c: executors.set_state(c, name, _STATES[verb])):
        raise errors.NotFoundError(f"there is no executor {name!r}")
    await hub.liveness.look_at_states()
    await hub.audit(asker.user, verb, f"executor {name}", address_of(request))
    return answer(contract.Changed(1))


@router.websocket("/executors/connect")
async def connect(socket: WebSocket) -> None:
    """An executor: see parcs.contract.executor."""
    hub: Hub = socket.app.state.hub
    try:
        bearer = await executor_of(socket)
    except (errors.NotLoggedInError, errors.NotAllowedError) as error:
        logger.warning("an executor was refused: %s", error)
        await socket.close(_UNAUTHORISED)
        return
    except errors.DatabaseUnavailableError as error:
        logger.warning("an executor could not be served: %s", error)
        # Before it is accepted, to close it is "403 Forbidden": then it would not come again.
        await socket.send_denial_response(Response("the database does not answer", status_code=503))
        return
    await socket.accept()
    outgoing: asyncio.Queue[wire.FromHub | None] = asyncio.Queue()
    try:
        hello = wire.decode_to_hub(await asyncio.wait_for(socket.receive_bytes(), _HELLO_S))
        if not isinstance(hello, wire.Hello):
            raise msgspec.ValidationError("it did not begin with hello")
        _check(hello)
        session = await hub.dispatch.open(hello, bearer.token, outgoing.put_nowait)
    except (errors.ConflictError, errors.InvalidRequestError) as error:
        await socket.send_bytes(wire.encode(wire.Refused(str(error))))
        await socket.close()
        return
    except (
        TimeoutError,
        WebSocketDisconnect,
        KeyError,
        msgspec.DecodeError,
        errors.DatabaseUnavailableError,
    ) as error:
        logger.warning("a caller was no executor, or could not be served: %s", error)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()
        return
    session.close = lambda: outgoing.put_nowait(None)
    is_leaving = False
    sending = asyncio.create_task(_send(socket, outgoing))
    receiving = asyncio.create_task(_receive(socket, hub, session))
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        is_leaving = (
            receiving.done()
            and not receiving.cancelled()
            and receiving.exception() is None
            and receiving.result()
        )
        if receiving.done() and (failure := receiving.exception()) is not None:
            logger.warning("executor %s: %s", session.name, failure)
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        with contextlib.suppress(errors.DatabaseUnavailableError):
            await hub.dispatch.close(session, is_leaving=is_leaving)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


async def _receive(socket: WebSocket, hub: Hub, session) -> bool:  # type: ignore[no-untyped-def]
    """What it says, until it says no more; True if it leaves for good."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return bool(message.get("code") == _LEAVING)
        data = message.get("bytes")
        if data is None:
            raise msgspec.ValidationError("it sent a text")
        await hub.dispatch.take(session, wire.decode_to_hub(data))


async def _send(socket: WebSocket, outgoing: asyncio.Queue[wire.FromHub | None]) -> None:
    while (message := await outgoing.get()) is not None:
        await socket.send_bytes(wire.encode(message))


def _check(hello: wire.Hello) -> None:
    if not (
        0 < hello.slots <= 10_000
        and 0 < len(hello.id) <= 64
        and len(hello.name) <= 200
        and "\0" not in hello.id + hello.name
    ):
        raise errors.InvalidRequestError("an executor of so many slots, or with such a name, cannot be")
