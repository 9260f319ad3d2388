"""Answers that do not end by themselves: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi.responses import StreamingResponse

from parcs.hub.state import Hub


class Stream(StreamingResponse):
    """Events until their source ends, the page goes, or the hub does: a hub that ends waits for its answers."""

    def __init__(self, hub: Hub, source: AsyncGenerator[str | bytes, None]) -> None:
        super().__init__(
            _until_closing(hub, source), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


async def _until_closing(
    hub: Hub, source: AsyncGenerator[str | bytes, None]
) -> AsyncGenerator[str | bytes, None]:
    closing = asyncio.ensure_future(hub.closing.wait())
    piece: asyncio.Future[str | bytes] | None = None
    try:
        while True:
            piece = asyncio.ensure_future(anext(source))
            await asyncio.wait({closing, piece}, return_when=asyncio.FIRST_COMPLETED)
            if not piece.done():
                return
            try:
                yield piece.result()
            except StopAsyncIteration:
                return
    finally:
        closing.cancel()
        if piece is not None and not piece.done():
            piece.cancel()
            await asyncio.wait({piece})
        await source.aclose()
