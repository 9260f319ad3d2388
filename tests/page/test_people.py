"""Who may do what on the page, and whether everybody can use it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from parcs import errors
from parcs.client import Hub
from tests.hub.conftest import HubProcess
from tests.page.browser import PASSWORD, Visitor
from tests.page.conftest import Visit

Make = Callable[..., HubProcess]
PAGES = [
    "/",
    "/tasks",
    "/tasks/new",
    "/executors",
    "/people",
    "/people?tab=tokens",
    "/people?tab=audit",
    "/account",
]


def test_a_viewer_looks_and_is_offered_nothing_that_would_be_refused(
    visit: Visit, shared: HubProcess
) -> None:
    with shared.client() as client:
        number = client.submit("sleep 30", name="of an admin").first
    viewer = visit(shared.url).enter(shared, "noa", "viewer")
    page = viewer.page
    expect(page.get_by_role("link", name="New task")).to_have_count(0)
    expect(page.get_by_role("link", name="People")).to_have_count(0)
    viewer.go(f"/tasks/{number}")
    expect(page.get_by_role("heading", name="of an admin")).to_be_visible()
    for name in ("Cancel", "Run again", "Delete"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    viewer.go("/executors")
    expect(page.get_by_role("button", name="Drain")).to_have_count(0)
    viewer.go("/tasks/new")
    expect(page.get_by_text("You are a viewer here")).to_be_visible()
    expect(page.get_by_role("button", name="noa (viewer)")).to_be_visible()
    viewer.go("/people")
    expect(page.get_by_text("for admins")).to_be_visible()
    with shared.client() as client:
        client.cancel(number)


def test_a_wrong_password_is_refused_and_slowed_down(visit: Visit, make_hub: Make) -> None:
    hub = make_hub()
    visitor = visit(hub.url)
    visitor.page.goto(hub.url)
    visitor.page.get_by_label("Name").fill("admin")
    visitor.page.get_by_label("Password").first.fill("wrong")
    button = visitor.page.get_by_role("button", name="Log in")
    button.click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("password")
    for _ in range(30):
        with visitor.page.expect_response("**/api/v1/login") as answer:
            button.click()
        if answer.value.status == 429:
            break
    else:
        pytest.fail("thirty wrong passwords, one after another, and none was slowed down")
    expect(visitor.page.get_by_role("alert")).to_contain_text("wait")


def test_the_link_that_a_hub_prints_logs_in_once(visit: Visit, make_hub: Make) -> None:
    hub = make_hub()
    link = re.search(r"http://\S+/#/login/\S+", hub.log.read_text())
    assert link is not None
    visitor = visit(hub.url)
    visitor.page.goto(link[0])
    expect(visitor.page.get_by_role("heading", name="Overview")).to_be_visible()
    assert "login" not in visitor.page.url
    visitor.page.get_by_role("button", name="admin").click()
    visitor.page.get_by_role("menuitem", name="Log out").click()
    expect(visitor.page.get_by_role("button", name="Log in")).to_be_visible()
    visitor.page.goto(link[0])  # in the same page
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    again = re.search(r"http://\S+/#/login/\S+", hub.parcs("up", "--data", str(hub.folder)))  # while it runs
    assert again is not None
    visitor.page.goto(again[0])
    expect(visitor.page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_hub_that_ends_under_open_pages_does_so_at_once_and_quietly(visit: Visit, make_hub: Make) -> None:
    hub = make_hub()
    visitor = visit(hub.url).enter(hub, "ada", "admin")
    with hub.client() as client:
        visitor.go(f"/tasks/{client.submit('true').first}")  # nobody runs it: its page waits for output
    expect(visitor.page.get_by_text("It waits:")).to_be_visible()
    assert hub.process is not None
    begin = time.monotonic()
    hub.process.send_signal(signal.SIGINT)
    assert hub.process.wait(10) == 130
    assert time.monotonic() - begin < 3  # uvicorn would cancel them then, with a traceback each
    assert not re.search("Traceback|Cancel|Error", hub.log.read_text())


def test_an_admin_adds_somebody_and_shuts_them_out(visit: Visit, admin: Visitor, shared: HubProcess) -> None:
    page = admin.page
    page.get_by_role("link", name="People").click()
    page.get_by_label("New user").fill("zoe")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Add").click()
    row = page.locator("tbody tr", has_text="zoe")
    expect(row).to_be_visible()
    visit(shared.url).enter(shared, "zoe")
    row.get_by_role("button", name="Set password").click()
    page.get_by_role("dialog").get_by_label("Password").first.fill("another one")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    zoe = visit(shared.url)
    zoe.go("/")
    zoe.page.get_by_label("Name").fill("zoe")
    zoe.page.get_by_label("Password").first.fill("another one")
    zoe.page.get_by_role("button", name="Log in").click()
    expect(zoe.page.get_by_role("heading", name="Overview")).to_be_visible()
    row.get_by_role("button", name="Shut out").click()
    page.get_by_role("dialog").get_by_role("button", name="Shut out").click()
    expect(row).to_contain_text("(shut out)")
    page.get_by_role("tab", name="Who did what").click()
    expect(page.locator("tbody tr", has_text="change user").first).to_contain_text("zoe")


def test_tokens_are_made_shown_once_and_revoked(member: Visitor) -> None:
    page = member.page
    page.get_by_role("button", name="mia").click()
    page.get_by_role("menuitem", name="Password and tokens").click()
    page.get_by_label("New token, for").fill("a laptop")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".mantine-Code-root", has_text="parcs login")).to_be_visible()
    row = page.locator("tbody tr", has_text="a laptop")
    expect(row).to_be_visible()
    page.reload()
    expect(row).to_be_visible()
    expect(page.locator(".mantine-Code-root", has_text="parcs login")).to_have_count(0)
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)


def test_an_executor_is_added_by_a_command_drained_and_enabled(admin: Visitor, shared: HubProcess) -> None:
    page = admin.page
    page.get_by_role("navigation").get_by_role("link", name="Executors").click()
    page.get_by_role("button", name="Add an executor").click()
    page.get_by_label("Name of the token").fill("the attic's")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_text("listens to its own computer only")).to_be_visible()
    command = page.locator(".mantine-Code-root", has_text="parcs executor").inner_text()
    token = command.split()[0].removeprefix("PARCS_EXECUTOR_TOKEN=")
    assert shared.url in command
    page.keyboard.press("Escape")
    with pytest.raises(errors.NotAllowedError), Hub(shared.url, token, budget_s=5) as client:
        client.submit("true")  # it can run tasks, and nothing else
    row = page.locator("tbody tr", has_text="e1")
    row.get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("draining")
    row.get_by_role("button", name="Enable").click()
    expect(row).to_contain_text("active")


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Iterator[str]:
    yield str(request.param)


def test_nothing_serious_keeps_anybody_out(visit: Visit, shared: HubProcess, scheme: str) -> None:
    with shared.client() as client:
        ended = client.submit("echo well", name="for axe").first
        client.wait(ended, 20)
    visitor = visit(shared.url, color_scheme=scheme, reduced_motion="reduce").enter(shared, "ada", "admin")
    for path in (*PAGES, f"/tasks/{ended}"):
        visitor.go(path)
        visitor.page.get_by_role("heading", level=2).wait_for()
        visitor.page.wait_for_timeout(300)
        found = Axe().run(visitor.page).response["violations"]
        serious = [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert not serious, f"{path} in {scheme}: {serious}"


@pytest.mark.parametrize("width", [360, 2560])
def test_narrow_and_wide_pages_do_not_scroll_sideways(visit: Visit, shared: HubProcess, width: int) -> None:
    visitor = visit(shared.url, viewport={"width": width, "height": 800}).enter(shared, "ada", "admin")
    for path in PAGES:
        visitor.go(path)
        visitor.page.get_by_role("heading", level=2).wait_for()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_every_page_is_reached_by_keys_alone(member: Visitor) -> None:
    page = member.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Tasks":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
