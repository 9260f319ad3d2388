"""Runs the checks on a test program: as a point, and as a runner over points of its own and of the Python SDK."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from parcs import errors
from parcs.channel import Endpoint
from parcs.engine.client import EngineClient
from parcs.engine.console import Console
from parcs.engine.local import LocalEngineServer
from parcs.engine.remote import RemoteEngine
from parcs.job import run_job
from parcs.model.settings import Settings
from parcs.module import golang, manifest
from parcs.testing.conformance.checks import CHECKS, Subject
from parcs.testing.conformance.program import MODULE

REFERENCE: Final = f"{sys.executable} -m parcs.testing.conformance.program"


class Outcome(NamedTuple):
    """One check. ``problem`` is empty if it held."""

    role: str
    check: str
    problem: str


def run(command: str, folder: Path, only: str = "") -> Iterator[Outcome]:
    """Run all checks, one after the other.

    Args:
        command: what starts the test program, in ``folder``; ``go run ./x`` is compiled first.
        only: a part of the names of the checks to run.
    """
    words = golang.compiled(folder, tuple(shlex.split(command)))
    with tempfile.TemporaryDirectory(prefix="parcs-conformance-") as place:
        _write(Path(place), "program", words, folder)
        _write(Path(place), "reference", tuple(shlex.split(REFERENCE)), folder)
        for check in CHECKS:
            if only in check.__name__:
                with _engine(Path(place)) as engine:
                    subject = Subject(words, folder, engine)
                    yield Outcome("point", _title(check.__name__), _attempt(lambda c=check, s=subject: c(s)))  # type: ignore[misc]
        for role, runner, module in (
            ("runner, its own points", "program", "program"),
            ("runner, Python points", "program", "reference"),
            ("point of a Python runner", "reference", "program"),
        ):
            yield from _drive(Path(place), role, runner, module, only)


def _drive(place: Path, role: str, runner: str, module: str, only: str) -> Iterator[Outcome]:
    """Have one program ask the same of points of another."""
    done = run_job(manifest.load(place / runner), {MODULE: module}, keep_stdout=True, is_quiet=True)
    if not isinstance(done.result, list):
        yield Outcome(role, "gives a result", f"it gave {done.result!r}, and status {done.exit_code}")
        return
    for check, problem in done.result:
        if only in check:
            yield Outcome(role, _title(str(check)), str(problem))


def _write(place: Path, name: str, words: tuple[str, ...], folder: Path) -> None:
    """A module that is the program."""
    target = place / name
    target.mkdir()
    line = shlex.join(["env", "-C", str(folder), *words])
    (target / "parcs.toml").write_text(f"name = {name!r}\ncommand = {line!r}\nrunner = {line!r}\n")


@contextmanager
def _engine(place: Path) -> Iterator[RemoteEngine]:
    endpoint = Endpoint("runner", b"the suite's own token", Settings())
    server = LocalEngineServer([place], Settings(), Console(all_to_stderr=True), token=endpoint.token)
    server.backend.extra["PARCS_QUIET"] = "1"
    engine = RemoteEngine(endpoint, EngineClient(endpoint, str(server.server.address)), server.close)
    try:
        yield engine
    finally:
        engine.close()
        endpoint.close()


def _attempt(check: Callable[[], None]) -> str:
    try:
        check()
    except (AssertionError, errors.ParcsError, OSError) as error:
        return f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
    return ""


def _title(name: str) -> str:
    return name.replace("_", " ")
