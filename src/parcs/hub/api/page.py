"""The page: static files, which the build has compressed, and the same document for every address within it."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from parcs import errors

router = APIRouter(include_in_schema=False)

FOLDER: Final = Path(__file__).parent.parent / "static"
_DOCUMENT: Final = "index.html"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ANEW: Final = "no-cache"
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_NOT_BUILT: Final = (
    "This hub was installed without its page (PARCS_NO_PAGE was set, or there was no Node to build it with).\n"
    "The command line and the HTTP API do everything that the page does.\n"
    "To have the page: install PARCS again, or in its source folder run: cd web && npm ci && npm run build\n"
)


class _File(NamedTuple):
    body: bytes
    encoded: dict[str, bytes]
    kind: str
    tag: str


class Page:
    """The built files, in memory: they are few."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".br", ".gz")
        }

    def answer(self, path: str, request: Request) -> Response:
        """The file of this name; for an address that the page itself understands, its document."""
        found = self._files.get(path)
        if found is None and "." not in path.rpartition("/")[2]:
            path, found = _DOCUMENT, self._files.get(_DOCUMENT)
        if found is None:
            text = "there is no such page" if self._files else _NOT_BUILT
            return Response(text, 404 if self._files else 503, media_type="text/plain; charset=utf-8")
        headers = {
            "ETag": found.tag,
            "Cache-Control": _FOR_EVER if path.startswith("assets/") else _ANEW,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        asked = request.headers.get("accept-encoding", "").split(",")
        accepted = {each.partition(";")[0].strip() for each in asked}
        for name, _ in _ENCODINGS:
            if name in accepted and name in found.encoded:
                headers["Content-Encoding"] = name
                return Response(found.encoded[name], headers=headers, media_type=found.kind)
        return Response(found.body, headers=headers, media_type=found.kind)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    compressed = {name: path.with_name(path.name + ending) for name, ending in _ENCODINGS}
    encoded = {name: file.read_bytes() for name, file in compressed.items() if file.is_file()}
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(body, encoded, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


@router.get("/api/{path:path}")
async def no_such_request(path: str) -> Response:
    """What begins as the API and is none of it is no page."""
    raise errors.NotFoundError(f"this hub's API has no /api/{path}")


@router.get("/{path:path}")
async def page(request: Request, path: str) -> Response:
    """The page."""
    shown: Page = request.app.state.page
    return shown.answer(path, request)
