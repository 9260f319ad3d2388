"""The programs in the documents run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import Modules

ROOT = Path(__file__).parents[2]


def programs(document: str) -> list[str]:
    """The Python blocks of a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def run(modules: Modules, source: str) -> str:
    path = modules.folder / "program.py"
    path.write_text(source)
    done = subprocess.run(
        [sys.executable, str(path)], env=modules.environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_programs_find_factors(modules: Modules) -> None:
    service, runner, _ = programs("README.md")
    modules.add("factor", service, runner)
    assert modules.run("factor", "-e", "N=1001", "-e", "P=3")["result"] == [7, 11, 13, 77, 91, 143]


def test_the_readmes_loop_sums_squares(modules: Modules) -> None:
    assert run(modules, programs("README.md")[2]).strip() == str(sum(n * n for n in range(1_000_000)))


def test_the_program_without_a_runner_gets_its_echo(modules: Modules) -> None:
    echo = ROOT / "examples" / "echo"
    (modules.folder / "echo").mkdir()
    for name in ("parcs.toml", "service.py"):
        (modules.folder / "echo" / name).write_text((echo / name).read_text())
    (source,) = programs("docs/programs.md")
    assert json.loads(run(modules, source)) == [1, 2, 3]


def test_every_route_is_in_the_document_of_the_api() -> None:
    """And nothing else is: what the hub serves, and what docs/api.md lists, are the same."""
    from parcs.contract.tasks import API
    from parcs.hub.api import cluster, executors, jobs, people, tasks, watch

    listed = set(re.findall(r"`(GET|POST|PATCH|DELETE) (/[^`]*)`", (ROOT / "docs" / "api.md").read_text()))
    routes = [
        route for room in (tasks, executors, people, watch, cluster, jobs) for route in room.router.routes
    ]
    served = {
        (method, route.path.removeprefix(API).replace(":path", ""))  # type: ignore[attr-defined]
        for route in routes
        for method in getattr(route, "methods", ())
        if route.path.startswith(API)  # type: ignore[attr-defined]
    }
    assert listed == served


def test_every_setting_of_the_hub_is_in_its_document() -> None:
    from parcs.hub.settings import HubSettings

    text = (ROOT / "docs" / "tasks.md").read_text()
    files = {"TOKEN", "TOKEN_FILE", "DATABASE_FILE", "ADMIN_TOKEN_FILE", "EXECUTOR_TOKEN_FILE"}
    named = set(re.findall(r"PARCS_HUB_([A-Z_]+)", text)) - files
    assert {name.lower() for name in named} == set(HubSettings.__dataclass_fields__) - {"host", "port"}


def test_the_pools_program_runs(modules: Modules) -> None:
    first, words, _ = programs("docs/pools.md")
    run(modules, first)
    (modules.folder / "a.txt").write_text("x y x")
    (modules.folder / "b.txt").write_text("x")
    before = (
        "import operator\nfrom collections import Counter\nfrom pathlib import Path\n"
        "from parcs import map_reduce\n"
        "paths = sorted(Path(__file__).parent.glob('*.txt'))\n"
    )
    assert run(modules, before + words + "print(dict(words))").strip() == "{'x': 3, 'y': 1}"
