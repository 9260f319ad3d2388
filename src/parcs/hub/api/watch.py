"""News as they happen, and whether the hub is well: /api/v1/events, /metrics, /healthz, /readyz."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final

import prometheus_client
import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from prometheus_client.core import GaugeMetricFamily

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.api.gate import Looker, TheHub, secret_of
from parcs.hub.api.streams import Stream
from parcs.hub.api.tasks import answer, event
from parcs.hub.state import Hub
from parcs.hub.store import executors
from parcs.version import VERSION

router = APIRouter(tags=["watch"])

_ALIVE_S: Final = 15.0


@router.get(f"{contract.API}/events", response_class=Response)
async def events(hub: TheHub, _: Looker) -> Response:
    """Server-sent events: ``task`` and ``executor``, with id and state, as they change.

    They tell that something changed; what there is now, the lists say.
    """
    return Stream(hub, _events(hub))


async def _events(hub: Hub) -> AsyncGenerator[str, None]:
    async with hub.changes.watch() as watcher:
        yield ": watching\n\n"
        while True:
            try:
                news = await asyncio.wait_for(watcher.get(), _ALIVE_S)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            yield event(news.kind, {"id": news.id, "state": news.state})
            if watcher.missed:
                yield event("missed", {"count": watcher.missed})
                watcher.missed = 0


@router.get(f"{contract.API}/live", response_class=Response)
async def live(hub: TheHub, request: Request, _: Looker) -> Response:
    """Server-sent events for a page that stays open, gathered for a fifth of a second.

    ``changes`` has the ids of ``tasks`` and ``executors`` that changed, and how many more did (``unnamed``);
    ``sample`` is the newest of `/history`; after ``missed`` a page asks for everything anew.
    """
    return Stream(hub, _live(hub, secret_of(request.headers, request.cookies)))


async def _live(hub: Hub, secret: str) -> AsyncGenerator[bytes, None]:
    looked = time.monotonic()
    async with hub.pulse.watch() as queue:
        yield b": watching\n\n"
        while True:
            yield await queue.get()
            if time.monotonic() - looked > _ALIVE_S:
                looked = time.monotonic()
                with contextlib.suppress(errors.DatabaseUnavailableError):
                    try:
                        await hub.access.bearer(secret)
                    except errors.NotLoggedInError:  # whoever logged out, or was shut out, sees no more
                        return


@router.get(f"{contract.API}/history", response_model=contract.History)
async def history(hub: TheHub, _: Looker) -> Response:
    """How this hub was in the last quarter of an hour, every two seconds."""
    return answer(hub.pulse.history())


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok", "version": VERSION}


@router.get(f"{contract.API}/hubs", response_model=list[contract.HubSeen])
async def hubs(hub: TheHub, _: Looker) -> Response:
    """Every hub of the same database, and when it was seen last."""
    return answer(await hub.hubs.list_all())


@router.get("/readyz")
async def ready(hub: TheHub) -> dict[str, str]:
    """The database answers too."""
    await hub.database.read(lambda c: c.execute(sa.text("SELECT 1")))
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
async def metrics(hub: TheHub, _: Looker) -> Response:
    """For Prometheus; it shows a token of a viewer."""
    counts = await hub.work.counts(contract.Query())
    totals = await hub.database.read(executors.totals)
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Figures(counts, totals, len(hub.dispatch.sessions())))
    prometheus_client.ProcessCollector(registry=registry)
    return Response(
        prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST
    )


class _Figures:
    """What the hub counts, as Prometheus wants it."""

    def __init__(self, counts: dict[str, int], totals: tuple[int, int, int], sessions: int) -> None:
        self._counts, self._sessions = counts, sessions
        self._executors, self._slots, self._busy = totals

    def collect(self) -> list[GaugeMetricFamily]:
        tasks = GaugeMetricFamily("parcs_tasks", "Tasks by state", labels=["state"])
        for state, count in self._counts.items():
            tasks.add_metric([state], count)
        slots = GaugeMetricFamily("parcs_slots", "Slots of connected executors", self._slots)
        busy = GaugeMetricFamily("parcs_slots_busy", "Slots that run a task", self._busy)
        there = GaugeMetricFamily("parcs_executors", "Connected executors", self._executors)
        here = GaugeMetricFamily("parcs_hub_sessions", "Executors connected to this hub", self._sessions)
        return [tasks, slots, busy, there, here]
