"""The command line, as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Modules

ADD = """
    import os
    from parcs.server import Runner, serve

    class Add(Runner):
        def run(self):
            return int(os.environ["A"]) + int(os.environ["B"])

    serve(Add())
"""
ADD_TOML = """
    [parameters]
    A = { type = "int", help = "the first" }
    B = { type = "int", default = 2, help = "the second" }
"""


def parcs(modules: Modules, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "parcs", *arguments],
        env={**modules.environment, "COLUMNS": "200", "NO_COLOR": "1"},
        cwd=modules.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


def test_run_prints_the_result_and_one_line_about_the_run(modules: Modules) -> None:
    modules.add("add", runner=ADD, toml=ADD_TOML)
    done = parcs(modules, "run", "add", "-e", "A=40")
    assert done.stdout == "result: 42\n"
    assert "0 points · 0 messages" in done.stderr


def test_run_json_keeps_standard_output_for_the_result(modules: Modules) -> None:
    modules.add("add", runner=ADD.replace("return", 'print("chatter"); return'), toml=ADD_TOML)
    done = parcs(modules, "run", "add", "-e", "A=1", "--json")
    assert json.loads(done.stdout)["result"] == 3
    assert "chatter" in done.stderr


def test_run_help_lists_the_parameters(modules: Modules) -> None:
    modules.add("add", runner=ADD, toml=ADD_TOML)
    said = parcs(modules, "run", "add", "--help").stdout
    assert "the first" in said and "(required)" in said and "parcs run add -e A=... -e B=2" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "ad"], "did you mean add"),
        (["run", "add"], "needs A"),
        (["run", "add", "-e", "A=x"], "of type int"),
        (["run", "add", "-e", "A=1", "-e", "C=1"], "no parameter C"),
        (["run", "add", "-e", "A"], "NAME=VALUE"),
        (["run", "./nowhere"], "no parcs.toml"),
        (["run", "add", "-e", "A=1", "--trace", "/nowhere/t.json"], "cannot be written"),
        (["run"], "Usage"),
        (["study", "add", "-e", "A=1", "--points", "two"], "--points two"),
        (["study", "add", "-e", "A=1"], "no parameter P"),
        (["new", "Not A Name"], "cannot be a module's name"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_exits_with_2(
    modules: Modules, arguments: list[str], said: str
) -> None:
    modules.add("add", runner=ADD, toml=ADD_TOML)
    done = parcs(modules, *arguments, code=2)
    assert said in done.stderr + done.stdout


def test_a_runner_that_fails_gives_its_exit_code(modules: Modules) -> None:
    modules.add("bad", runner="import sys; sys.exit(5)")
    parcs(modules, "run", "bad", code=5)


def test_a_setting_that_makes_no_sense_is_an_error_in_words(modules: Modules) -> None:
    modules.add("add", runner=ADD, toml=ADD_TOML)
    os.environ["PARCS_FRAME_LIMIT"] = "huge"
    try:
        assert "PARCS_FRAME_LIMIT" in parcs(modules, "run", "add", "-e", "A=1", code=2).stderr
    finally:
        del os.environ["PARCS_FRAME_LIMIT"]


def test_running_a_service_says_what_it_is(modules: Modules) -> None:
    modules.add("svc", "from parcs.server import Service, serve\nserve(Service())")
    assert "a runner starts it" in parcs(modules, "run", "svc", code=1).stderr


def test_a_new_module_runs_and_passes_its_test(modules: Modules) -> None:
    parcs(modules, "new", "counter", "--in", "made")
    folder = modules.folder / "made" / "counter"
    assert json.loads(parcs(modules, "run", str(folder), "-e", "N=10", "--json").stdout)["result"] == 285
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        env=modules.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in done.stdout


def test_modules_lists_what_can_be_named(modules: Modules) -> None:
    modules.add("add", runner=ADD, toml=ADD_TOML)
    assert "add" in parcs(modules, "modules").stdout
    listed = json.loads(parcs(modules, "modules", "--json").stdout)
    mine = [m for m in listed if m["name"] == "add"]
    assert mine[0]["parameters"] == {
        "A": {"type": "int", "default": None},
        "B": {"type": "int", "default": "2"},
    }


def test_doctor_says_what_there_is_and_how_to_get_the_rest(modules: Modules) -> None:
    findings = {f["what"]: f for f in json.loads(parcs(modules, "doctor", "--json").stdout)}
    assert findings["Python"]["is_ok"] and findings["loopback network"]["is_ok"]
    assert all(f["remedy"] for f in findings.values() if not f["is_ok"])
    assert "Docker Swarm" in parcs(modules, "doctor").stdout


def test_version_and_completion(modules: Modules) -> None:
    from parcs import __version__

    assert json.loads(parcs(modules, "version", "--json").stdout)["parcs"] == __version__
    assert __version__ in parcs(modules, "--version").stdout
    asked = {"_PARCS_COMPLETE": "complete_bash", "COMP_WORDS": "parcs ru", "COMP_CWORD": "1"}
    completed = subprocess.run(
        [sys.executable, "-m", "parcs"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert completed.stdout.split() == ["run"]


def test_a_study_draws_a_plot_and_writes_its_figures(modules: Modules) -> None:
    parcs(modules, "new", "counter")
    plot = modules.folder / "study.png"
    done = parcs(
        modules,
        "study",
        "counter",
        "-e",
        "N=200000",
        "--points",
        "1,2",
        "--repeats",
        "1",
        "--plot",
        str(plot),
        "--json",
    )
    document = json.loads(done.stdout)
    assert [row["points"] for row in document["rows"]] == [1, 2]
    assert document["rows"][0]["speedup"] == 1.0 and document["rows"][0]["serial_fraction"] is None
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path(plot.with_suffix(".json")).read_text())["rows"] == document["rows"]
