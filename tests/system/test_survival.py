"""Two minutes of the nemesis: hubs, executors and a replicated database are broken, and nothing is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chaos import database
from chaos.history import read

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def tools() -> None:
    try:
        database.check()
    except SystemExit as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def namespaces() -> set[str]:
    return {file.name for file in Path("/run/netns").glob("ch*")}


@pytest.mark.timeout(480)
def test_nothing_is_lost_in_two_minutes(tmp_path: Path) -> None:
    words = [
        "--minutes",
        "2",
        "--every",
        "12",
        "--keep",
        str(tmp_path),
        "--report",
        str(tmp_path / "report.md"),
    ]
    before = namespaces()
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "chaos", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, check=False
        )
    said = done.stdout.decode()
    assert done.returncode == 0, f"{said}\n{(tmp_path / 'log').read_text()[-3000:]}"
    history = read(tmp_path / "history.jsonl")
    assert len(history.events) >= 3
    assert sum(o.outcome == "ok" for o in history.operations) > 200
    assert (
        re.findall(r"\| (\d+) \|$", said.partition("| broken |")[2].partition("\n\n")[0], re.M) == ["0"] * 5
    )
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert namespaces() == before
