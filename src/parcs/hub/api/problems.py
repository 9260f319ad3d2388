"""Errors as HTTP says them (RFC 9457): the one place where the domain's errors get a status."""

from __future__ import annotations

import logging
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from parcs import errors

logger = logging.getLogger("parcs.hub")

STATUSES: Final[dict[type[errors.ParcsError], tuple[int, str]]] = {
    errors.InvalidRequestError: (422, "invalid-request"),
    errors.NotFoundError: (404, "not-found"),
    errors.NotLoggedInError: (401, "not-logged-in"),
    errors.NotAllowedError: (403, "not-allowed"),
    errors.ConflictError: (409, "conflict"),
    errors.TooMuchError: (413, "too-much"),
    errors.DatabaseUnavailableError: (503, "database-unavailable"),
    errors.EngineUnavailableError: (503, "engine-unavailable"),
    errors.EngineError: (409, "engine"),
    errors.SwarmError: (409, "swarm"),
    errors.DockerUnavailableError: (503, "docker-unavailable"),
    errors.DockerError: (502, "docker"),
    errors.ArchiveError: (422, "bad-archive"),
    errors.HubError: (500, "hub"),
}
TYPE: Final = "urn:parcs:"
MEDIA: Final = "application/problem+json"
_RETRY_S: Final = "1"


def problem(status: int, kind: str, detail: str, field: str = "") -> JSONResponse:
    """A response that says what is wrong."""
    body: dict[str, Any] = {
        "type": TYPE + kind,
        "title": kind.replace("-", " "),
        "status": status,
        "detail": detail,
    }
    if field:
        body["field"] = field
    headers = {"Retry-After": _RETRY_S} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, media_type=MEDIA)


def install(app: FastAPI) -> None:
    """Have an app answer so."""

    @app.exception_handler(errors.ParcsError)
    async def _(request: Request, error: errors.ParcsError) -> JSONResponse:
        status, kind = next((STATUSES[k] for k in type(error).__mro__ if k in STATUSES), (500, "error"))
        if status >= 500:
            logger.error("%s %s: %s", request.method, request.url.path, error)
        return problem(status, kind, str(error), getattr(error, "field", ""))

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(
            str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")
        )
        return problem(422, "invalid-request", f"{where}: {first['msg']}" if where else first["msg"], where)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
        answer = problem(error.status_code, kind, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        logger.exception("%s %s", request.method, request.url.path, exc_info=error)
        return problem(500, "bug", "the hub failed in a way that nobody foresaw; its log has the details")
