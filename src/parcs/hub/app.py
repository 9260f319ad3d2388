"""A hub as an ASGI application, and as a server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from parcs.contract import executor as wire
from parcs.hub.api import cluster, executors, gate, jobs, khala, page, people, problems, tasks, watch
from parcs.hub.state import Hub
from parcs.version import VERSION

_ABOUT = """Durable tasks: submit, search, watch, cancel, fetch.

Every request shows a token: `Authorization: Bearer TOKEN`. Errors are `application/problem+json` (RFC 9457).
Times are seconds since 1970, sizes bytes, durations seconds.
"""


def create(hub: Hub) -> FastAPI:
    """The application that serves a hub."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with hub.running():
            yield

    app = FastAPI(
        title="PARCS hub",
        version=VERSION,
        description=_ABOUT,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.hub = hub
    app.add_middleware(gate.Gate, most=hub.settings.request_bytes)
    problems.install(app)

    @app.exception_handler(gate.RateError)
    async def _(request: Request, error: gate.RateError) -> JSONResponse:
        return problems.problem(429, "too-often", str(error))

    for room in (tasks, executors, people, watch, cluster, jobs, khala):
        app.include_router(room.router)
    app.state.page = page.Page()
    app.include_router(page.router)  # the last: it takes every address that is left
    return app


def server(hub: Hub) -> uvicorn.Server:
    """A server for a hub; ``serve()`` runs it."""
    config = uvicorn.Config(
        create(hub),
        host=hub.settings.host,
        port=hub.settings.port,
        log_level="warning",
        access_log=False,
        ws_max_size=wire.LARGEST,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    return uvicorn.Server(config)
