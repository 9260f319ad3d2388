"""A hub with an executor, and people with browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.hub.conftest import HubProcess, make_hub, postgresql, shared
from tests.page.browser import Visitor, chromium

__all__ = ["make_hub", "postgresql", "shared"]
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module's tests: while it is there, nothing else in this process may have an event loop."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open the page of a hub. At the end nobody may have asked another host, nor seen an error in the console."""
    visitors: list[Visitor] = []

    def go(url: str, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **options))
        return visitors[-1]

    yield go
    for visitor in visitors:
        elsewhere = [url for url in visitor.asked if not url.startswith((visitor.url, "data:", "blob:"))]
        complaints = [said for said in visitor.complaints if not said.startswith("Failed to load resource")]
        visitor.context.close()
        assert not elsewhere, elsewhere
        assert not complaints, complaints


@pytest.fixture
def member(visit: Visit, shared: HubProcess) -> Visitor:
    """A member who is logged in."""
    return visit(shared.url).enter(shared, "mia")


@pytest.fixture
def admin(visit: Visit, shared: HubProcess) -> Visitor:
    """An admin who is logged in."""
    return visit(shared.url).enter(shared, "ada", "admin")
