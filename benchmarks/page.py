"""The page: how fast it is drawn, what it weighs, and what a hundred open ones cost a hub.

    python -m benchmarks page

Needs Chromium. Each figure stands beside the bound that PARCS wants to keep.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import httpx2
import psutil
from tests.hub.conftest import HubProcess
from tests.page.browser import Visitor, chromium

from benchmarks.report import Row

_ROUNDS: Final = 5
_PAGES: Final = 100
_TASKS: Final = 100_000
_READY: Final = (
    "document.querySelectorAll('.uplot canvas').length === 3 && document.querySelector('tbody tr') !== null"
)
_SINCE: Final = "performance.now()"


def _row(what: str, unit: str, measured: float, bound: float) -> Row:
    return Row(what, measured, bound, unit, "the bound", "<= 1")


def _drawn(visitor: Visitor, url: str) -> tuple[float, int]:
    """Seconds until the charts and the list are there, and bytes over the wire."""
    sizes: list[int] = []
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda said: sizes.append(int(said["encodedDataLength"])))
    visitor.page.goto(url, wait_until="commit")
    visitor.page.wait_for_function(_READY, polling=10)
    took: float = visitor.page.evaluate(_SINCE) / 1000
    session.detach()
    return took, sum(sizes)


def _first_page(hub: HubProcess) -> list[Row]:
    cold, warm, sizes, seen = [], [], [], []
    with chromium() as browser:
        for _ in range(_ROUNDS):
            visitor = Visitor(browser, hub.url).enter(hub, "ada", "admin")
            cookies = visitor.context.cookies()
            visitor.context.close()
            visitor = Visitor(browser, hub.url, bypass_csp=True)  # wait_for_function evaluates text
            visitor.context.add_cookies(cookies)  # type: ignore[arg-type]  # as they came
            took, size = _drawn(visitor, hub.url)
            cold.append(took)
            sizes.append(size)
            _drawn(visitor, hub.url)  # the browser keeps what it compiled from the second visit on
            warm.append(_drawn(visitor, hub.url)[0])
            visitor.page.goto(hub.url + "/tasks")
            with hub.client() as client:
                visitor.page.get_by_role("heading", name="Tasks").wait_for()
                begun = time.monotonic()
                number = client.submit("true", name=f"seen {time.time()}").first
                visitor.page.locator("tbody a", has_text=str(number)).first.wait_for()
                seen.append(time.monotonic() - begun)
            visitor.context.close()
    return [
        _row("drawn with its charts, cold cache", "s", statistics.median(cold), 1.0),
        _row("drawn with its charts, warm", "s", statistics.median(warm), 0.3),
        _row("over the wire, cold", "kB", statistics.median(sizes) / 1000, 300),
        _row("a change is on another's page", "s", statistics.median(seen), 0.5),
    ]


def _listing(hub: HubProcess) -> list[Row]:
    """A page of a list among few tasks, and among many."""

    def ask() -> float:
        times = []
        headers = {"Authorization": f"Bearer {hub.token}"}
        with httpx2.Client(base_url=hub.url, headers=headers) as client:
            for _ in range(100):
                begun = time.perf_counter()
                client.get("/api/v1/tasks?limit=50").raise_for_status()
                times.append(time.perf_counter() - begun)
        return statistics.median(times)

    with hub.client() as client:
        few = ask()
        first = client.submit(
            "true", name="many", array=[{"N": str(i)} for i in range(_TASKS)], where={"no": "where"}
        ).first
        many = ask()
        client.cancel(array=first)
    return [_row("a list among 100,000 tasks, to one among few", "x", many / few, 1.5)]


def _open_pages(hub: HubProcess) -> list[Row]:
    """What a hub uses with a hundred pages open, as their event streams and their questions load it."""
    assert hub.process is not None
    process = psutil.Process(hub.process.pid)
    before = process.memory_info().rss
    stop = threading.Event()
    headers = {"Authorization": f"Bearer {hub.token}"}

    def page() -> None:
        with (
            contextlib.suppress(httpx2.HTTPError),
            httpx2.Client(base_url=hub.url, headers=headers, timeout=60) as client,
        ):
            for path in (
                "history",
                "executors",
                "hubs",
                "tasks?limit=8",
                "tasks?state=queued&order=asc&limit=1",
            ):
                client.get(f"/api/v1/{path}").raise_for_status()
            with client.stream("GET", "/api/v1/live") as events:
                last = time.monotonic()
                for _ in events.iter_lines():
                    if stop.is_set():
                        return
                    if time.monotonic() - last > 10:  # as the page does
                        last = time.monotonic()
                        client.get("/api/v1/executors")
                        client.get("/api/v1/hubs")

    threads = [threading.Thread(target=page, daemon=True) for _ in range(_PAGES)]
    for thread in threads:
        thread.start()
    time.sleep(15)
    begun = process.cpu_times()
    time.sleep(20)
    used = process.cpu_times()
    share = (used.user + used.system - begun.user - begun.system) / 20
    memory = process.memory_info().rss
    stop.set()
    for thread in threads:
        thread.join(10)
    return [
        _row("a hundred open pages, idle: of a core", "%", 100 * share, 25),
        _row("a hundred open pages: the hub's memory", "MB", memory / 1e6, 300),
        _row("of that, because of the pages", "MB", max(0, memory - before) / 1e6, 300),
    ]


def rows(*, quick: bool = False) -> list[Row]:
    """Every figure beside its bound."""
    del quick
    with tempfile.TemporaryDirectory(prefix="parcs-bench-") as folder:
        hub = HubProcess(Path(folder))
        try:
            hub.start()
            hub.executor()
            with hub.client() as client:
                client.wait(client.submit("true").first, 20)
            return [row for part in (_first_page, _open_pages, _listing) for row in part(hub)]
        finally:
            hub.stop()
