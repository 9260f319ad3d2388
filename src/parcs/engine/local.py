"""Points as processes of this machine.

Each point is a process in a session of its own, so that Ctrl-C reaches only the runner and a point's whole
family can be ended together. Its output comes through pipes to the console, line by line; its last lines are
kept for the day it dies. A guardian process cleans up if this one is killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from parcs import errors
from parcs.channel import new_token, sockets
from parcs.contract import engine as contract
from parcs.engine import guardian
from parcs.engine.console import Console
from parcs.engine.server import Answer, EngineServer, OneJob, Session
from parcs.engine.space import ControlSpace
from parcs.engine.warm import REFILL_S, WarmPool
from parcs.model import resources as needs
from parcs.model.lifecycle import Ending, PointEvent
from parcs.model.settings import Settings
from parcs.module import find, golang
from parcs.module.manifest import Module

_LAST_LINES = 20
_LONGEST_LINE = 16 * 1024
_GRACE_S = 2.0


class Output:
    """One pipe of one process, cut into lines."""

    def __init__(self, pipe: IO[bytes], take: Callable[[str], None]) -> None:
        self.pipe, self._take = pipe, take
        os.set_blocking(pipe.fileno(), False)
        self._rest = b""

    def read(self) -> bool:
        """Take what is there; False at the end of the pipe."""
        try:
            data = os.read(self.pipe.fileno(), 65536)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest] if self._rest else lines, b""
        for line in lines:
            self._take(line.decode(errors="replace").rstrip("\r"))
        return bool(data)


class PointProcess:
    """The process of one point."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], pidfd: int | None) -> None:
        self.name, self.process, self.pidfd = name, process, pidfd
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.outputs: list[Output] = []
        self.kill_at: float | None = None
        self.pool: WarmPool | None = None


class LocalBackend:
    """Starts modules as processes.

    Args:
        space: the one job whose points they are.
        places: the search path for modules.
        console: where the points' output goes.
        extra: variables for every point's environment.
    """

    def __init__(
        self, space: ControlSpace, places: list[Path], console: Console, extra: dict[str, str]
    ) -> None:
        self._space, self._places, self._console, self.extra = space, places, console, extra
        self._processes: dict[str, PointProcess] = {}
        self._modules: dict[str, Module] = {}
        self._warm: dict[str, WarmPool] = {}
        self._server: EngineServer | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._node = os.uname().nodename

    @property
    def server(self) -> EngineServer:
        """The server this backend works for."""
        assert self._server is not None
        return self._server

    def attach(self, server: EngineServer) -> None:
        self._server = server
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, self._space.identity],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, space: ControlSpace, request: contract.Start, creator: str) -> Answer:
        module = self._find(request.module)
        needs.parse(request.resources, f"resources of {module.name}")
        pool = self._warm.get(module.name)
        if pool is not None and pool.waiting >= request.number:
            taken = [self._take(pool, module, request, creator) for _ in range(request.number)]
            self.server.call_later(REFILL_S, lambda: self._refill(pool))
            return {"points": taken}
        return {"points": [self._start_one(module, request, creator) for _ in range(request.number)]}

    def warm(self, space: ControlSpace, module: str, count: int) -> Answer:
        found = self._find(module)
        pool = self._warm.setdefault(found.name, WarmPool(found.name))
        pool.target = count
        while pool.surplus:
            self._end(self._processes[pool.take().program])
        self._refill(pool)
        return pool.when_filled()

    def _refill(self, pool: WarmPool) -> None:
        module = self._find(pool.module)
        for _ in range(pool.missing):
            pool.started += 1
            name = f"{module.name.rpartition('/')[2]}-warm-{pool.started}"
            settings = {contract.WARM_VARIABLE: pool.module, contract.POINT_VARIABLE: name}
            try:
                point = self._spawn(module, name, self._environment(module, {}) | settings)
            except OSError as error:
                pool.fail(errors.EngineError(why_not_started(module, module.command, error)))
                return
            point.pool = pool
            pool.coming += 1

    def on_waiting(self, session: Session) -> None:
        point = self._processes.get(session.program)
        if point is not None and point.pool is not None:
            point.pool.add(session)

    def on_gone(self, session: Session) -> None:
        for pool in self._warm.values():
            pool.discard(session)

    def _take(self, pool: WarmPool, module: Module, request: contract.Start, creator: str) -> str:
        """Give a waiting point its name, its creator and its environment."""
        session = pool.take()
        record = self._space.add(module.name, module.language, creator)
        point = self._processes.pop(session.program)
        point.name, point.pool = record.name, None
        self._processes[record.name] = point
        self._space.advance(record.name, PointEvent.STARTED)
        self.server.give(session, contract.take_event(record.name, request.call, request.environment))
        return record.name

    def _start_one(self, module: Module, request: contract.Start, creator: str) -> str:
        record = self._space.add(module.name, module.language, creator)
        environment = self._environment(module, request.environment) | {
            contract.CALL_VARIABLE: request.call,
            contract.POINT_VARIABLE: record.name,
        }
        try:
            self._spawn(module, record.name, environment)
        except OSError as error:
            reason = why_not_started(module, module.command, error)
            self.server.on_ended(self._space, record.name, Ending(None, None, self._node, [], reason))
            return record.name
        self._space.advance(record.name, PointEvent.STARTED)
        return record.name

    def _find(self, name: str) -> Module:
        """The module that a program means; found once."""
        module = self._modules.get(name) or find.find(name, self._places)
        self._modules[name] = module
        if not module.command:
            raise errors.EngineError(
                f"{module.name} has no command for points, only a runner ({module.folder})"
            )
        golang.compiled(module.folder, module.command)
        return module

    def _environment(self, module: Module, given: dict[str, str]) -> dict[str, str]:
        defaults = {
            name: p.default for name, p in module.parameters.items() if p.default and name not in os.environ
        }
        return {**os.environ, **defaults, **self.extra, **given}

    def _spawn(self, module: Module, name: str, environment: dict[str, str]) -> PointProcess:
        process = spawn(module, module.command, environment)
        self.tell_guardian("add", process.pid)
        point = PointProcess(name, process, _pidfd(process.pid))
        self._processes[name] = point
        for pipe, is_error in ((process.stdout, False), (process.stderr, True)):
            assert pipe is not None
            self._watch_output(point, pipe, is_error=is_error)
        if point.pidfd is not None:
            self.server.watch(point.pidfd, lambda: self._on_exit(point))
        return point

    def _watch_output(self, point: PointProcess, pipe: IO[bytes], *, is_error: bool) -> None:
        def take(line: str) -> None:
            point.last_lines.append(line)
            self._console.write(point.name, line, is_error=is_error)

        output = Output(pipe, take)
        point.outputs.append(output)

        def on_readable() -> None:
            if not output.read():
                self._close_output(point, output)

        self.server.watch(pipe, on_readable)

    def _close_output(self, point: PointProcess, output: Output) -> None:
        self.server.unwatch(output.pipe)
        output.pipe.close()
        point.outputs.remove(output)

    def stop(self, space: ControlSpace, name: str) -> None:
        point = self._processes.get(name)
        if point is not None:
            self._end(point)

    def _end(self, point: PointProcess) -> None:
        if point.kill_at is None:
            point.kill_at = time.monotonic() + _GRACE_S
            _signal_group(point, signal.SIGTERM)

    def tick(self) -> None:
        now = time.monotonic()
        for point in list(self._processes.values()):
            if point.kill_at is not None and now >= point.kill_at:
                point.kill_at = now + _GRACE_S
                _signal_group(point, signal.SIGKILL)
            if point.pidfd is None:
                self._on_exit(point)

    def _on_exit(self, point: PointProcess) -> None:
        """The point's process is over (it is a zombie still, so that its group's number is still its own)."""
        pid = point.process.pid
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is None:
            return
        _signal_group(point, signal.SIGKILL)  # whatever it started and left behind
        self.tell_guardian("drop", pid)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        point.process.returncode = code
        if point.pidfd is not None:
            self.server.unwatch(point.pidfd)
            os.close(point.pidfd)
        for output in list(point.outputs):
            while output.read() and sockets.is_readable(output.pipe, 0):
                pass
            self._close_output(point, output)
        del self._processes[point.name]
        lines = [] if code == 0 else list(point.last_lines)
        ending = Ending(code if code >= 0 else None, -code if code < 0 else None, self._node, lines)
        if point.pool is not None:  # it never was anybody's
            if point.kill_at is None:
                point.pool.fail(
                    errors.PointStartError(point.name, f"it was to wait, and {ending.describe()}")
                )
            return
        self.server.on_ended(self._space, point.name, ending, usage.ru_utime + usage.ru_stime)

    def tell_guardian(self, verb: str, pid: int) -> None:
        """Put a process group on the guardian's list, or take it off."""
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(
                BrokenPipeError
            ):  # somebody killed the guardian: points still end normally
                self._guardian.stdin.write(f"{verb} {pid}\n".encode())
                self._guardian.stdin.flush()

    def close(self) -> None:
        for name in list(self._processes):
            self.stop(self._space, name)
        deadline = time.monotonic() + 3 * _GRACE_S
        while self._processes and time.monotonic() < deadline:
            self.server.serve_once(0.05)
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guardian.stdin.close()
            self._guardian.wait()


class LocalEngineServer:
    """An engine server on this machine, with a control space and a token of its own.

    Args:
        places: the search path for modules.
        console: where the points' output goes.
        token: what programs must prove; a new one if None.
        is_tracing: whether programs note every message.
    """

    def __init__(
        self,
        places: list[Path],
        settings: Settings,
        console: Console | None = None,
        *,
        token: bytes | None = None,
        is_tracing: bool = False,
    ) -> None:
        _raise_descriptor_limit()
        self.space = ControlSpace(secrets.token_hex(8))
        token = token or new_token()
        environment = {
            contract.TOKEN_VARIABLE: token.decode(),
            contract.SPACE_VARIABLE: self.space.identity,
            **({contract.TRACE_VARIABLE: "1"} if is_tracing else {}),
        }
        package = str(Path(__file__).parents[2])
        python_path = os.environ.get("PYTHONPATH", "")
        extra = {"PYTHONUNBUFFERED": "1", **environment}
        if package not in sys.path or "site-packages" not in package:
            # run from a source tree: points of other interpreters' working folders find the same PARCS
            extra["PYTHONPATH"] = os.pathsep.join(filter(None, [package, python_path]))
        self.backend = LocalBackend(self.space, places, console or Console(), extra)
        self.server = EngineServer(OneJob(token, self.space), self.backend, settings)
        extra[contract.ENGINE_VARIABLE] = str(self.server.address)

    def close(self) -> None:
        """End every point and stop."""
        self.server.close()


def _raise_descriptor_limit() -> None:
    """Three descriptors a point: take as many as this user may have, rather than the usual 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS states more than it gives
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def spawn(module: Module, command: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a module's command in its folder, in a session of its own.

    Raises:
        OSError: the command cannot be run.
    """
    return subprocess.Popen(
        golang.compiled(module.folder, command),
        cwd=module.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def why_not_started(module: Module, command: tuple[str, ...], error: OSError) -> str:
    """Why a module's command could not be run, and what to do."""
    words = " ".join(command)
    if error.errno == errno.ENOENT:
        return (
            f"command not found: {command[0]!r} (module {module.name}, command {words!r}); install it, or "
            f"correct command in {module.folder / 'parcs.toml'}"
        )
    if error.errno in (errno.EACCES, errno.ENOEXEC):
        return f"{command[0]!r} is not a program that can be run (module {module.name}): {error.strerror}"
    return f"the command {words!r} of module {module.name} could not be run: {error}"


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # not Linux: the server's tick asks instead


def _signal_group(point: PointProcess, number: int) -> None:
    try:
        os.killpg(point.process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # the group is empty already
