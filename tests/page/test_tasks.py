"""Tasks on the page, with a real hub, a real executor and a real browser."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Page, expect

from tests.hub.conftest import HubProcess
from tests.page.browser import Visitor
from tests.page.conftest import Visit

SCRIPT = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
SEEN_MS = 10_000


def submit(page: Page, command: str, name: str = "") -> None:
    """By the form, up to the task's own page."""
    page.get_by_role("link", name="New task").first.click()
    page.get_by_label("Command").fill(command)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Run it").click()
    page.wait_for_url(re.compile(r"/tasks/\d+$"))


def test_a_cpp_task_by_the_form_from_login_to_its_output(visit: Visit, shared: HubProcess) -> None:
    page = visit(shared.url).enter(shared, "mia").page
    page.get_by_role("link", name="New task").first.click()
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name="C++ program").click()
    expect(page.get_by_label("Text of main.cpp")).to_contain_text("From Khala")
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_label("Output", exact=True)).to_have_text("From Khala: Hello World!\n", timeout=30_000)
    expect(page.get_by_text("succeeded").first).to_be_visible()


def test_output_is_there_while_the_task_runs_and_cancel_ends_it(member: Visitor) -> None:
    page = member.page
    submit(page, "echo first; sleep 3; echo second; sleep 60", "slow")
    output = page.get_by_label("Output", exact=True)
    expect(output).to_have_text("first\n", timeout=SEEN_MS)
    expect(output).to_have_text("first\nsecond\n", timeout=SEEN_MS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="slow").locator("..")).to_contain_text(
        "cancelled", timeout=SEEN_MS
    )
    expect(output).to_have_text("first\nsecond\n")


def test_what_the_compiler_says_and_what_differs_is_shown(member: Visitor) -> None:
    page = member.page
    page.get_by_role("link", name="New task").first.click()
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name="C++ program").click()
    page.get_by_label("Expected output").fill("From Khala: Good Bye!\n")
    page.get_by_role("button", name="Run it").click()
    differing = page.get_by_label("Expected and written")
    expect(differing).to_contain_text("- From Khala: Good Bye!", timeout=30_000)
    expect(differing).to_contain_text("+ From Khala: Hello World!")
    page.get_by_role("link", name="Change and run").click()
    expect(page.get_by_label("Compile first")).to_have_value(re.compile("g[+][+]"))
    expect(page.locator(".cm-content")).to_contain_text("From Khala: ")  # the source, to be changed
    page.get_by_label("Compile first").fill("g++ -o main missing.cpp")
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_label("Compiler's messages")).to_contain_text("missing.cpp", timeout=30_000)


def test_a_mistake_is_shown_beside_its_field(member: Visitor) -> None:
    page = member.page
    page.get_by_role("link", name="New task").first.click()
    page.get_by_label("Command").fill("")
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_text("What is to be run?")).to_be_visible()
    page.get_by_label("Command").fill("true")
    page.get_by_role("button", name="Where it runs, and when").click()
    page.get_by_label("After tasks").fill("987654321")
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_text("there is no task 987654321")).to_be_visible()  # the hub's word
    expect(page.get_by_label("After tasks")).to_have_attribute("aria-invalid", "true")


def test_an_upload_and_an_array(member: Visitor) -> None:
    page = member.page
    page.get_by_role("link", name="New task").first.click()
    page.get_by_role("combobox", name="Template").click()
    page.get_by_role("option", name="Many at once").click()
    page.get_by_label("Command").fill("cat greeting.txt; echo $N")
    file = {"name": "greeting.txt", "mimeType": "text/plain", "buffer": b"good morning\n"}
    page.locator("input[type=file]").set_input_files([file])
    expect(page.get_by_role("button", name="greeting.txt")).to_be_visible()
    page.get_by_role("button", name="Run it").click()
    page.wait_for_url(re.compile(r"/tasks[?]array=\d+$"))
    expect(page.get_by_role("status").filter(has_text="4 tasks: 4 succeeded")).to_be_visible(timeout=SEEN_MS)
    expect(page.get_by_role("row").filter(has_text="N=4")).to_be_visible()
    page.locator("tbody a").first.click()
    expect(page.get_by_label("Output", exact=True)).to_have_text("good morning\n4\n")


def test_a_search_is_in_the_address_and_can_be_acted_on(admin: Visitor, shared: HubProcess) -> None:
    with shared.client() as client:
        for _ in range(2):
            client.submit("sleep 60", name="sought")
    page = admin.page
    admin.go("/tasks?name=sought")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Name or command").fill("no such thing")
    expect(page.get_by_text("No task is like that.")).to_be_visible()
    assert "text=no+such+thing" in page.url
    page.get_by_label("Name or command").fill("")
    page.get_by_role("button", name="Cancel these").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel these").click()
    expect(page.get_by_role("status").filter(has_text="2 tasks: 2 cancelled")).to_be_visible(timeout=SEEN_MS)


def test_two_browsers_see_each_others_changes(visit: Visit, shared: HubProcess) -> None:
    one, other = visit(shared.url).enter(shared, "mia"), visit(shared.url).enter(shared, "noa", "viewer")
    other.go("/tasks")
    expect(other.page.get_by_role("heading", name="Tasks")).to_be_visible()
    submit(one.page, "echo together", "together")
    begun = time.monotonic()
    row = other.page.locator("tbody tr", has_text="together")
    expect(row).to_contain_text("succeeded", timeout=SEEN_MS)
    assert time.monotonic() - begun < 5


def test_a_page_that_nobody_sees_holds_no_connection(admin: Visitor, shared: HubProcess) -> None:
    """A browser has six to a hub, for all its tabs."""
    page = admin.page
    page.get_by_role("link", name="Tasks", exact=True).click()
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    tell = (
        "state => { Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(tell, "hidden")
    with shared.client() as client:
        client.submit("true", name="unseen")
        time.sleep(1.5)
        assert page.locator("tbody tr", has_text="unseen").count() == 0
        page.evaluate(tell, "visible")
        expect(page.locator("tbody tr", has_text="unseen")).to_be_visible()


def test_a_script_in_a_name_or_an_output_is_text(member: Visitor) -> None:
    page = member.page
    submit(page, f"echo '{SCRIPT}'", SCRIPT)
    expect(page.get_by_label("Output", exact=True)).to_have_text(SCRIPT + "\n", timeout=SEEN_MS)
    expect(page.get_by_role("heading", level=2)).to_have_text(SCRIPT)
    member.go("/tasks")
    expect(page.locator("tbody tr").first).to_contain_text("<script>")
    assert page.evaluate("window.hurt") is None


def test_the_policy_of_the_page_allows_no_foreign_and_no_made_up_code(member: Visitor) -> None:
    answer = member.page.request.get(member.url + "/tasks/new")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    script = "made = document.createElement('script'); made.textContent = 'window.made = 1'"
    member.page.evaluate(f"() => {{ const {script}; document.body.append(made); }}")
    assert member.page.evaluate("window.made") is None
    assert any("Content Security Policy" in said for said in member.complaints)
    member.complaints.clear()
