"""Before a request is read: its size, its rate, and who asks."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, WebSocket
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parcs import errors
from parcs.hub.api.problems import problem
from parcs.hub.services import access
from parcs.hub.services.access import Action
from parcs.hub.state import Hub
from parcs.hub.store.people import Bearer

COOKIE: Final = "parcs_session"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class TooLarge(Exception):  # never seen outside this file
    """A body is larger than may be."""


class Gate:
    """Refuses bodies that are too large, before and while they are read.

    And adds the headers that every answer has.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        claimed = dict(scope["headers"]).get(b"content-length", b"0")
        if not claimed.isdigit() or int(claimed) > self._most:
            await self._refuse(scope, receive, send)
            return
        seen, is_answering = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise TooLarge
            return message

        async def headed(message: Message) -> None:
            nonlocal is_answering
            if message["type"] == "http.response.start":
                is_answering = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self._app(scope, counted, headed)
        except TooLarge:
            if not is_answering:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem(413, "too-much", f"a request may have {self._most >> 20} MiB")
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send)


async def hub_of(request: Request) -> Hub:
    """The hub that serves this request."""
    return request.app.state.hub  # type: ignore[no-any-return]


TheHub = Annotated[Hub, Depends(hub_of)]


def secret_of(headers: Any, cookies: Any) -> str:
    """The token that a request shows."""
    kind, _, secret = headers.get("authorization", "").partition(" ")
    return str(secret.strip() if kind.lower() == "bearer" else cookies.get(COOKIE, ""))


async def bearer_of(request: Request, hub: TheHub) -> Bearer:
    """Who asks.

    Raises:
        NotLoggedInError: nobody that the hub knows.
    """
    secret = secret_of(request.headers, request.cookies)
    if not secret:
        raise errors.NotLoggedInError(
            "this hub wants a token: Authorization: Bearer TOKEN. On the hub's own machine the command line has one"
        )
    if (
        "authorization" not in request.headers
        and request.method not in _SAFE
        and "x-parcs" not in request.headers
    ):
        raise errors.NotAllowedError("a page's change needs the header X-PARCS")  # no other site can send it
    bearer = await hub.access.bearer(secret)
    if not hub.rates.take(bearer.user):
        raise RateError(f"more than {hub.settings.requests_per_s:g} requests a second; wait a little")
    return bearer


class RateError(Exception):
    """Somebody asks too often."""


Asker = Annotated[Bearer, Depends(bearer_of)]


async def looker(bearer: Asker) -> Bearer:
    """Somebody who may look."""
    access.demand(bearer, Action.LOOK)
    return bearer


Looker = Annotated[Bearer, Depends(looker)]


async def executor_of(socket: WebSocket) -> Bearer:
    """Whose executor calls.

    Raises:
        NotLoggedInError, NotAllowedError: nobody's.
    """
    bearer = await socket.app.state.hub.access.bearer(secret_of(socket.headers, {}))
    access.demand(bearer, Action.EXECUTE)
    return bearer  # type: ignore[no-any-return]


Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="The same request sent again with the same key adds nothing, and has the same answer.",
    ),
]


def address_of(request: Request) -> str:
    """Where a request came from, for the audit log."""
    return request.client.host if request.client else ""
