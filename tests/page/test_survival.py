"""A page outlives hubs: it comes back by itself, and shows nothing that is no longer true."""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.hub.conftest import HubProcess, PostgreSQL
from tests.page.conftest import Visit

Make = Callable[..., HubProcess]
BACK_MS = 30_000


class RoundRobin(socketserver.ThreadingTCPServer):
    """A proxy that gives each connection to the next hub that answers, as a load balancer does."""

    daemon_threads = True

    def __init__(self, ports: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.ports = ports
        self.turns = itertools.cycle(ports)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class _Passing(socketserver.BaseRequestHandler):
    server: RoundRobin

    def handle(self) -> None:
        for _ in self.server.ports:
            with contextlib.suppress(ConnectionRefusedError):
                far = socket.create_connection(("127.0.0.1", next(self.server.turns)))
                break
        else:
            return
        with far:
            back = threading.Thread(target=_pass, args=(far, self.request), daemon=True)
            back.start()
            _pass(self.request, far)
            back.join(10)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def balance() -> Iterator[Callable[..., RoundRobin]]:
    made: list[RoundRobin] = []

    def make(*hubs: HubProcess) -> RoundRobin:
        made.append(RoundRobin([hub.port for hub in hubs]))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_hub_restarted_under_an_open_page(visit: Visit, make_hub: Make) -> None:
    hub = make_hub()
    hub.executor()
    visitor = visit(hub.url).enter(hub, "mia")
    visitor.page.get_by_role("link", name="Tasks").click()
    expect(visitor.page.get_by_text("No tasks yet.")).to_be_visible()
    hub.kill()
    expect(visitor.page.get_by_role("status").first).to_contain_text("The hub is away")
    hub.start()
    expect(visitor.page.get_by_role("status").first).to_be_empty(timeout=BACK_MS)
    with hub.client() as client:
        client.submit("echo again", name="after all")
    row = visitor.page.locator("tbody tr", has_text="after all")
    expect(row).to_contain_text("succeeded", timeout=BACK_MS)


def test_a_hub_killed_under_a_page_behind_a_balancer(
    visit: Visit, make_hub: Make, postgresql: PostgreSQL, balance: Callable[..., RoundRobin]
) -> None:
    database = postgresql.database()
    one = make_hub(database)
    other = make_hub(database)
    one.executor()
    other.executor()
    proxy = balance(one, other)
    visitor = visit(proxy.url).enter(one, "mia")
    visitor.go("/tasks")
    with one.client() as client:
        client.submit("echo before", name="before")
    expect(visitor.page.locator("tbody tr", has_text="before")).to_contain_text("succeeded", timeout=BACK_MS)
    other.kill()
    with one.client() as client:
        client.submit("echo after", name="after")
    expect(visitor.page.locator("tbody tr", has_text="after")).to_contain_text("succeeded", timeout=BACK_MS)
    expect(visitor.page.get_by_role("status").first).to_be_empty(timeout=BACK_MS)
    visitor.page.get_by_role("link", name="New task").click()
    visitor.page.get_by_label("Command").fill("echo by the page")
    visitor.page.get_by_role("button", name="Run it").click()
    expect(visitor.page.get_by_label("Output", exact=True)).to_have_text("by the page\n", timeout=BACK_MS)
