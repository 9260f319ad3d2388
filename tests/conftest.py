"""What all tests share: modules made on the spot, and proof that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from parcs.channel.waiting import OWN_THREAD

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job is started so, and the programs that are tested would be too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "parcs", deadline=None
)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("parcs")

SOURCE = Path(__file__).parents[1] / "src"


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Wait for a condition; fails with ``what`` and its last value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: still {value!r} after {timeout_s} s")
        time.sleep(0.01)


def descendants_with(mark: str) -> list[int]:
    """Processes whose environment contains ``mark``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


class Modules:
    """A folder of modules, and programs run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"PARCS_TEST={folder}"

    def add(self, name: str, service: str = "", runner: str = "", toml: str = "") -> Path:
        """Make a module of a service's and a runner's source."""
        folder = self.folder / name
        folder.mkdir()
        lines = [f'name = "{name}"', 'language = "python"']
        for kind, source in (("service", service), ("runner", runner)):
            if source:
                (folder / f"{kind}.py").write_text(textwrap.dedent(source))
                key = "command" if kind == "service" else "runner"
                lines.append(f'{key} = "python {kind}.py"')
        (folder / "parcs.toml").write_text("\n".join(lines) + "\n" + textwrap.dedent(toml))
        return folder

    @property
    def environment(self) -> dict[str, str]:
        """For programs of this folder."""
        key, value = self.mark.split("=", 1)
        return {**os.environ, "PARCS_PATH": str(self.folder), "PYTHONPATH": str(SOURCE), key: value}

    def run(self, name: str, *arguments: str, code: int = 0, timeout: float = 30) -> dict[str, Any]:
        """``parcs run NAME --json``; returns what it printed, with ``stderr``."""
        done = subprocess.run(
            [sys.executable, "-m", "parcs", "run", name, "--json", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == code, done.stderr
        printed = json.loads(done.stdout) if done.stdout else {}
        return {**printed, "stderr": done.stderr}

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command of this folder."""
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def processes(self) -> list[int]:
        """Processes that programs of this folder have left."""
        return descendants_with(self.mark)


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    made = Modules(tmp_path)
    yield made
    wait_until(lambda: not made.processes(), "processes left behind are gone")


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    left = lambda: [t.name for t in threading.enumerate() if t.name.startswith(OWN_THREAD)]  # noqa: E731
    wait_until(lambda: not left(), f"threads left behind: {left()}", 5.0)
