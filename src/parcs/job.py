"""One run of a runner module on this machine, from its first process to the last.

`parcs run` and `parcs study` both come here. The runner is a child with the terminal as its own; its points
are children of the engine server in this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from parcs import errors
from parcs.contract import engine as contract
from parcs.engine.console import Console
from parcs.engine.local import LocalEngineServer, why_not_started
from parcs.engine.space import ControlSpace, Summary
from parcs.model import settings as options
from parcs.module import find, golang
from parcs.module.manifest import Module

_PATIENCE_S = 5.0


class Outcome(NamedTuple):
    """How a job ended. ``exit_code`` is as a shell gives it: 128 + the signal that ended the runner."""

    exit_code: int
    result: Any
    summary: Summary
    space: ControlSpace


def run_job(
    module: Module,
    values: Mapping[str, str],
    *,
    keep_stdout: bool = False,
    is_quiet: bool = False,
    is_tracing: bool = False,
) -> Outcome:
    """Run a module's runner, and everything it starts, to the end.

    Args:
        values: its parameters, as the environment gets them.
        keep_stdout: send all output to standard error, because standard output is for a result.
        is_quiet: only warnings from the programs' logs.
        is_tracing: note every message.

    Raises:
        PointStartError: the runner's command cannot be run.
        ModuleBuildError: the module, or one that it uses, cannot be compiled.
    """
    settings = options.from_environment(os.environ)
    places = find.search_path(os.environ, module.folder)
    used = [find.find(name, places) for name in module.uses]
    golang.prepare([module, *used], lambda line: sys.stderr.write(f"{line}\n"))
    server = LocalEngineServer(places, settings, Console(all_to_stderr=keep_stdout), is_tracing=is_tracing)
    try:
        environment = {**os.environ, **server.backend.extra, **values}
        for inherited in (contract.CALL_VARIABLE, contract.POINT_VARIABLE):
            environment.pop(inherited, None)
        if is_quiet:
            environment[contract.QUIET_VARIABLE] = server.backend.extra[contract.QUIET_VARIABLE] = "1"
        try:
            runner = subprocess.Popen(
                golang.compiled(module.folder, module.main),
                cwd=module.folder,
                env=environment,
                stdout=sys.stderr.fileno() if keep_stdout else None,
            )
        except OSError as error:
            raise errors.PointStartError("runner", why_not_started(module, module.main, error)) from None
        exit_code = _wait(runner)
    finally:
        server.close()
    space = server.space
    return Outcome(exit_code, space.result, space.summary(), space)


def _wait(runner: subprocess.Popen[bytes]) -> int:
    """Wait for the runner; Ctrl-C reaches it too, and it gets a moment to end by itself."""
    try:
        code = runner.wait()
    except KeyboardInterrupt:
        code = _give_time(runner)
    return code if code >= 0 else 128 - code


def _give_time(runner: subprocess.Popen[bytes]) -> int:
    try:
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                runner.send_signal(number)
            try:
                return runner.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue
    except KeyboardInterrupt:
        runner.kill()  # pressed twice: now
    return runner.wait()


def find_module(name: str) -> Module:
    """The module a user names on the command line.

    Raises:
        UnknownModuleError, ManifestError: it cannot be found or used.
    """
    if Path(name).is_dir() and (os.sep in name or (Path(name) / "parcs.toml").is_file()):
        name = os.path.abspath(name)
    return find.find(name, find.search_path(os.environ))
