"""Every page, light and dark: `python -m tests.page.screenshots [FOLDER] [--narrow]`.

The cluster's as well, if PARCS_HUB_DOCKER and PARCS_HUB_REGISTRY name a Swarm's manager and its registry.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from tests.hub.conftest import HubProcess
from tests.page.browser import Visitor, choose_module, chromium

CPP = (
    "#include <iostream>\n\nint main() {\n    char line[256];\n    std::cin.getline(line, 256);\n"
    '    std::cout << "From Khala: " << line << std::endl;\n}\n'
)
WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 360, "height": 740}


def work(hub: HubProcess) -> dict[str, int]:
    """Some tasks of every kind; gives the numbers of those that are shown."""
    with hub.client() as client:
        cpp: dict[str, Any] = {
            "name": "C++", "command": "./main", "stdin": "Hello World!", "files": {"main.cpp": CPP},
            "expected": "From Khala: Hello, World!\n",
        }  # fmt: skip
        made = client.submit(
            **{**cpp, "compile": {"command": "g++ -g -Wall -o main main.cpp", "timeout_s": 20}}
        ).first
        client.submit("echo $N; sleep 0.$N", name="squares", array=[{"N": str(n)} for n in range(1, 9)])
        client.submit("cat no-such-file", name="a mistake")
        client.submit("sleep 30", name="too slow", timeout_s=0.5)
        client.wait(made, 40)
        running = client.submit(
            "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo step $i of 200; sleep 0.3; done", name="training"
        ).first
        client.submit("render scene.blend", name="render", where={"gpu": "a100"})
        time.sleep(6)
    return {"cpp": made, "running": running}


def job_of(hub: HubProcess, module: str, *, is_over: bool, **parameters: str) -> str:
    """A job that has run, or runs: the registry has the module (`parcs module push factor`)."""
    headers = {"Authorization": f"Bearer {hub.token}"}
    with httpx2.Client(base_url=f"{hub.url}/api/v1", headers=headers, timeout=60) as client:
        wanted = {"module": module, "parameters": parameters}
        name = str(client.post("/jobs", json=wanted).raise_for_status().json()["job"])
        while is_over and client.get(f"/jobs/{name}").json()["job"]["ended_at"] is None:
            time.sleep(0.5)
    return name


def study(page: Page) -> None:
    """Factors of a number, at 1, 2 and 4 points."""
    choose_module(page, "factor")
    page.get_by_label("N", exact=True).fill("12345678")
    page.get_by_role("button", name="Start the study").click()
    expect(page.locator("tbody tr")).to_have_count(3, timeout=120_000)


def shoot(folder: Path, *, is_narrow: bool) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="parcs-screens-"))
    hub = HubProcess(place)
    try:
        hub.start()
        hub.executor("--label", "room=attic", slots=4)
        with chromium() as browser:
            first = Visitor(browser, hub.url, viewport=WIDE)
            first.page.goto(hub.url)
            first.page.get_by_label("Name").wait_for()
            first.page.screenshot(path=folder / "login-light.png")
            numbers = work(hub)
            pages = {
                "overview": "/", "tasks": "/tasks", "task": f"/tasks/{numbers['cpp']}",
                "task-live": f"/tasks/{numbers['running']}", "new-task": f"/tasks/new?from={numbers['cpp']}",
                "executors": "/executors", "people": "/people", "audit": "/people?tab=audit", "account": "/account",
            }  # fmt: skip
            if os.environ.get("PARCS_HUB_DOCKER"):  # of a lab, say
                job = job_of(hub, "factor", is_over=True, N="12345678", P="6")
                live = job_of(hub, "heat", is_over=False, N="700", P="4", STEPS="200000")
                pages |= {
                    "jobs": "/jobs",
                    "job": f"/jobs/{live}",
                    "job-points": f"/jobs/{job}",
                    "study": "/study",
                }
                pages |= {"cluster": "/cluster", "services": "/cluster?tab=services", "modules": "/modules"}
            for scheme in ("light", "dark"):
                visitor = Visitor(browser, hub.url, viewport=WIDE, color_scheme=scheme).enter(
                    hub, "ada", "admin"
                )
                for name, path in pages.items():
                    visitor.page.set_viewport_size(WIDE)
                    visitor.go(path)
                    visitor.page.get_by_role("heading", level=2).wait_for()
                    time.sleep(1)
                    if name == "job":
                        visitor.page.get_by_role("tab", name="Control space").click()
                        visitor.page.locator("tbody tr").nth(6).wait_for()
                    elif name == "study":
                        study(visitor.page)
                    elif name == "job-points":
                        visitor.page.get_by_role("tab", name="Timeline").click()
                    visitor.page.screenshot(path=folder / f"{name}-{scheme}.png")
                    if scheme == "light" and is_narrow:
                        visitor.page.set_viewport_size(NARROW)
                        time.sleep(0.3)
                        visitor.page.screenshot(path=folder / f"{name}-narrow.png")
                for complaint in visitor.complaints:
                    print(f"{scheme}: {complaint}", file=sys.stderr)
    finally:
        hub.stop()


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--narrow"]
    shoot(Path(given[0] if given else "docs/screens"), is_narrow="--narrow" in sys.argv)
