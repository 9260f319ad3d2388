"""The cluster's pages, with a real Swarm beside a real hub, in a real browser."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess
from tests.page.browser import Visitor, choose_module, chromium
from tests.swarm.conftest import Cluster

from parcs.dockerapi import nodes, services

SEEN_MS = 20_000
STACK = "com.docker.stack.namespace=shop"


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(
        tmp_path_factory.mktemp("hub"),
        PARCS_HUB_DOCKER=cluster.lab.url,
        PARCS_HUB_REGISTRY=cluster.lab.registry,
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def page(hub: HubProcess) -> Iterator[Page]:
    with chromium() as browser:
        yield Visitor(browser, hub.url).enter(hub, "ada", "admin").page


@pytest.fixture
def web(cluster: Cluster) -> Iterator[str]:
    """A service of two replicas, as a stack has it."""
    image = f"{cluster.lab.registry}/python:3-slim"
    docker(
        cluster, "service", "create", "--detach", "--name", "shop_web", "--label", STACK, "--replicas", "2", image,
        "python3", "-u", "-c", "import time; print('open'); time.sleep(9999)",
    )  # fmt: skip
    yield "shop_web"
    services.remove(cluster.docker, "shop_web")


def docker(cluster: Cluster, *words: str) -> str:
    done = subprocess.run(
        ["docker", "--host", cluster.lab.url, *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_a_service_is_seen_scaled_restarted_and_removed(
    page: Page, hub: HubProcess, cluster: Cluster, web: str
) -> None:
    page.goto(hub.url)
    page.get_by_role("link", name="Cluster").click()
    expect(page.get_by_role("status").filter(has_text=f"{len(cluster.lab.nodes)} nodes")).to_be_visible(
        timeout=SEEN_MS
    )
    page.get_by_role("tab", name="Services").click()
    row = page.locator("tbody tr", has_text=web).first
    expect(row).to_contain_text("2 of 2", timeout=SEEN_MS)
    row.get_by_role("button", name=web).click()
    detail = page.get_by_label(f"Service {web}")
    detail.get_by_label("Replicas").fill("3")
    detail.get_by_role("button", name="Scale").click()
    expect(detail).to_contain_text("3 of 3 running", timeout=SEEN_MS)
    assert services.inspect(cluster.docker, web).spec["Mode"]["Replicated"]["Replicas"] == 3
    detail.get_by_role("button", name="Logs").click()
    expect(detail.get_by_label("The last lines, by node")).to_contain_text("| open", timeout=SEEN_MS)
    before = services.inspect(cluster.docker, web).version
    detail.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(detail).to_contain_text("2 of 2 running", timeout=SEEN_MS)
    assert services.inspect(cluster.docker, web).version > before
    detail.get_by_label("Image").fill(f"{cluster.lab.registry}/no-such-image")
    detail.get_by_role("button", name="Update").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no-such-image")
    page.keyboard.press("Escape")
    detail.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator("tbody tr", has_text=web)).to_have_count(0, timeout=SEEN_MS)


def test_a_node_is_drained_and_what_ran_there_moves(
    page: Page, hub: HubProcess, cluster: Cluster, web: str
) -> None:
    last = cluster.lab.nodes[-1].name
    page.goto(f"{hub.url}/cluster")
    card = page.get_by_label(f"Node {last}", exact=True)
    card.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(card).to_contain_text("drain", timeout=SEEN_MS)
    found = next(node for node in nodes.find(cluster.docker) if node.name == last)
    assert found.availability == "drain"
    card.get_by_role("button", name="Activate").click()
    expect(card.get_by_role("button", name="Activate")).to_have_count(0, timeout=SEEN_MS)
    wait_until(lambda: all(n.is_usable for n in nodes.find(cluster.docker)), "all nodes take work again", 20)


def test_a_stack_and_the_names_of_secrets(
    page: Page, hub: HubProcess, cluster: Cluster, web: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("never to be shown")
    docker(cluster, "secret", "create", "shop_key", str(file))
    try:
        page.goto(f"{hub.url}/cluster?tab=things")
        expect(page.get_by_text("shop_key")).to_be_visible(timeout=SEEN_MS)
        assert "never to be shown" not in page.content()
        page.get_by_role("tab", name="Stacks").click()
        row = page.locator("tbody tr", has_text="shop")
        expect(row).to_contain_text("shop_web")
        row.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page.get_by_text("No stack is deployed.")).to_be_visible(timeout=SEEN_MS)
        assert not services.find(cluster.docker, STACK)
    finally:
        docker(cluster, "secret", "rm", "shop_key")


def test_modules_of_the_registry_with_their_parameters(page: Page, hub: HubProcess, cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor")
    page.goto(hub.url)
    page.get_by_role("link", name="Modules").click()
    card = page.get_by_label("Module factor", exact=True).first
    expect(card).to_contain_text("sha256:", timeout=SEEN_MS)
    expect(card).to_contain_text("parcs run factor -e N=")


def test_a_viewer_changes_nothing(hub: HubProcess, cluster: Cluster, web: str) -> None:
    import httpx2

    from parcs.client import calls

    with hub.client() as client:
        client.do(calls.add_user("noa", "viewer", None))
        token = client.do(calls.add_token("t", "api", "noa", None)).secret
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"{hub.url}/api/v1", headers=headers) as viewer:
        assert viewer.get("/cluster").status_code == 200
        assert viewer.patch(f"/cluster/services/{web}", json={"replicas": 0}).status_code == 403
        assert viewer.delete(f"/cluster/services/{web}").status_code == 403
        assert viewer.get(f"/cluster/services/{web}/logs").status_code == 403
        assert viewer.patch("/cluster/nodes/node1", json={"availability": "drain"}).status_code == 403


def test_a_job_from_its_form_to_its_result(page: Page, hub: HubProcess, cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor")
    page.goto(f"{hub.url}/jobs")
    page.get_by_role("button", name="Start a job").click()
    choose_module(page, "factor")
    page.get_by_label("N", exact=True).fill("1234")
    page.get_by_label("P", exact=True).fill("3")
    page.get_by_role("button", name="Start it").click()
    expect(page.get_by_label("Result")).to_contain_text("617", timeout=60_000)
    page.get_by_role("tab", name="Control space").click()
    graph = page.get_by_role("img", name="The control space")
    expect(graph.locator("rect")).to_have_count(4)  # the runner, and three points
    expect(graph.locator("path")).to_have_count(3, timeout=SEEN_MS)
    expect(page.locator("tbody tr")).to_have_count(3)  # a channel to each
    page.get_by_role("tab", name="Timeline").click()
    expect(
        page.get_by_role("img", name="When each program ran").locator("g[font-size='12'] title")
    ).to_have_count(4)
    page.get_by_role("tab", name="Points").click()
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_role("link", name="Run again").click()
    expect(page.get_by_label("P", exact=True)).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.wait_for_url("**/jobs")


def test_a_job_is_stopped_and_its_lines_come_while_it_runs(
    page: Page, hub: HubProcess, cluster: Cluster, module: Callable[..., Path]
) -> None:
    runner = (
        "import time\nfrom parcs.server import Runner, serve\n\n\nclass Slow(Runner):\n    def run(self):\n"
        "        for i in range(600):\n            print('line', i, flush=True)\n            time.sleep(0.2)\n\n\n"
        "serve(Slow())\n"
    )
    job = cluster.detach(str(module("slow-talk", runner=runner)))
    page.goto(f"{hub.url}/jobs/{job}")
    shown = page.locator("pre.output").last
    expect(shown).to_contain_text("| line 5", timeout=30_000)
    page.get_by_label("Lines that contain").fill("line 3")
    expect(shown).not_to_contain_text("line 5")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible(timeout=SEEN_MS)


WAITING = """
from parcs.server import {kind}, serve


class Program({kind}):
    def run(self):
        {body}


serve(Program())
"""


def test_what_the_channels_of_a_running_job_carry_and_who_waits(
    page: Page, hub: HubProcess, cluster: Cluster, module: Callable[..., Path]
) -> None:
    service = WAITING.format(kind="Service", body="[self.send(self.recv()) for _ in range(10 ** 9)]")
    body = (
        "import time\n        one, other = self.engine.run_all('echoes', 2)\n        for _ in range(7):\n"
        "            one.send('x' * 98)\n            one.recv()\n        time.sleep(600)"
    )
    job = cluster.detach(str(module("echoes", service, WAITING.format(kind="Runner", body=body))))
    page.goto(f"{hub.url}/jobs/{job}")
    page.get_by_role("tab", name="Control space").click()
    row = page.locator("tbody tr", has_text="echoes-1 – runner")
    cells = ["echoes-1 – runner", "7", "7", "700 B", "700 B", "echoes-1 to recv"]
    expect(row.locator("td")).to_have_text(cells, timeout=40_000)
    expect(page.locator("tbody tr", has_text="echoes-2 – runner")).to_contain_text("echoes-2 to recv")
    told = cluster.parcs("ps", job, "--channels").stdout
    assert "echoes-1 - runner" in told
    assert "7 + 7" in told
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible(timeout=SEEN_MS)


def test_a_scaling_study_draws_its_speed_up(page: Page, hub: HubProcess, cluster: Cluster) -> None:
    cluster.parcs("module", "push", "factor")
    page.goto(f"{hub.url}/jobs")
    page.get_by_role("link", name="Scaling study").click()
    choose_module(page, "factor")
    page.get_by_label("N", exact=True).fill("1234")
    page.get_by_label("Numbers of points").fill("2, 1")
    page.get_by_role("button", name="Start the study").click()
    expect(page.locator("tbody tr")).to_have_count(2, timeout=60_000)
    expect(page.get_by_role("img", name="Speed-up over points").locator("circle")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("1.00")
    page.get_by_label("Numbers of points").fill("many")
    page.get_by_role("button", name="Start the study").click()
    expect(page.get_by_text("whole numbers")).to_be_visible()
