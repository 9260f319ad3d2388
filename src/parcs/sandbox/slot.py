"""A slot: the process that runs one task after another. ``python -m parcs.sandbox.slot FOLDER NAME``

Its standard input is a socket to the executor's agent. There it gets `Run` and `Cancel`, and says `Progress`,
`Output` and, at the end of each task, a `Result`. When that socket ends, so does the slot, and with it its task.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from parcs import archive, errors
from parcs.contract import executor as contract
from parcs.model.demand import describe_bytes
from parcs.model.task import TaskState
from parcs.sandbox import bubblewrap, cgroup, containers, reasons, step, tree

LENGTH: Final = struct.Struct("<I")
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "TZ")
ENGINE: Final = "PARCS_ENGINE"
_ENGINE: Final = (ENGINE, "PARCS_REGISTRY", "DOCKER_HOST", "DOCKER_CONFIG")
"""What jobs need to start their points elsewhere, where the executor was told of an engine."""
_CHUNK: Final = 1 << 18
_MOST_FILES: Final = 10_000
_LONGEST_NAME: Final = 1000
_CLIENT_PROCESSES: Final = 512


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run this. ``archive`` is the path of a file, or empty."""

    lease: contract.Lease
    spec: contract.Spec
    archive: str


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """End this attempt, if it is the one that runs; forget it, if it is to run later."""

    task: int
    attempt: int


ToSlot = Run | Cancel
FromSlot = contract.Progress | contract.Output | contract.Result
_decoder = msgspec.msgpack.Decoder(ToSlot)


class SlotResult(msgspec.Struct, frozen=True, tag="result"):
    """A task's end."""

    result: contract.Result


decode = msgspec.msgpack.Decoder(contract.Progress | contract.Output | SlotResult).decode


class Slot:
    """Runs what the agent says, in folders below one."""

    def __init__(self, agent: socket.socket, root: Path, name: str) -> None:
        self._agent, self.root = agent, root / name
        self.folder = self.root / "task"
        self._stamp: tuple[int, int, int] | None = None
        self._group = cgroup.make(name)
        if self._group is not None:
            self._group.kill()  # what a slot of this name left, if it was killed
        self._buffer = bytearray()
        self._queue: list[Run] = []
        self._cancelled: set[tuple[int, int]] = set()

    def serve(self) -> None:
        """Until the agent closes its end."""
        while self._queue or self._receive():
            while self._queue:
                run = self._queue.pop(0)
                key = (run.lease.task, run.lease.attempt)
                if key in self._cancelled:
                    result = contract.Result(*key, TaskState.CANCELLED, "cancelled before it began")
                else:
                    result = Work(self, run).result()
                self._cancelled.discard(key)
                self.say(SlotResult(result))

    def close(self) -> None:
        """Leave nothing behind."""
        tree.kill(os.getpid())
        if self._group is not None:
            self._group.kill()
            self._group.remove()

    def make_folder(self) -> None:
        """An empty folder for the next task. One that the last task left as it was is taken again."""
        if self._stamp is not None and self._stamp == self._look():
            return
        if self.folder.exists():
            shutil.rmtree(self.root, onerror=_make_writable)
        self.folder.mkdir(parents=True)
        self.root.chmod(0o711)
        self._stamp = self._look()

    def clear_folder(self) -> None:
        """Take away what a task left."""
        if self._stamp != self._look():
            self._stamp = None
            shutil.rmtree(self.root, onerror=_make_writable)

    def _look(self) -> tuple[int, int, int] | None:
        """What changes when a folder does: not its rights, its owner, or what is in it."""
        try:
            found = self.folder.stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns, found.st_mode

    def say(self, message: contract.Progress | contract.Output | SlotResult) -> None:
        """Tell the agent."""
        data = contract.encode(message)
        self._agent.sendall(LENGTH.pack(len(data)) + data)

    def watcher(self, run: Run) -> step.Watcher:
        """What a step of this task needs of its slot."""
        key = (run.lease.task, run.lease.attempt)

        def tell(stream: step.Stream) -> None:
            data = bytes(stream.data[stream.told :])
            self.say(contract.Output(*key, stream.name, stream.told, data))
            stream.told += len(data)

        def is_cancelled() -> bool:
            if not self._receive():
                raise ConnectionResetError("the executor has gone")
            return key in self._cancelled

        return step.Watcher(self._group, tell, self._agent.fileno(), is_cancelled)

    def is_cancelled(self, run: Run) -> bool:
        """Whether somebody asked for its end."""
        return (run.lease.task, run.lease.attempt) in self._cancelled

    def _receive(self) -> bool:
        """Take what has come; waits if nothing has. False if the agent has gone."""
        try:
            data = self._agent.recv(_CHUNK)
        except ConnectionResetError:
            return False
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            message = _decoder.decode(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            if isinstance(message, Run):
                self._queue.append(message)
            else:
                self._cancelled.add((message.task, message.attempt))
        return bool(data)


class Work:
    """One attempt at a task."""

    def __init__(self, slot: Slot, run: Run) -> None:
        self._slot, self._run, self._spec = slot, run, run.spec
        self._key = (run.lease.task, run.lease.attempt)
        self._base = slot.root
        self._folder = slot.folder
        self._streams: list[step.Stream] = []
        self._ends: list[step.End] = []
        self._level = run.spec.level

    def result(self) -> contract.Result:
        """Run it; gives how it ended. What goes wrong here is the task's failure, with a reason."""
        home = os.getcwd()
        try:
            self._slot.make_folder()
            return self._steps()
        except errors.ArchiveError as error:
            return self._failed(f"its files cannot be unpacked: {error}")
        except OSError as error:
            return self._failed(f"it could not be run here: {error}")
        finally:
            os.chdir(home)
            self._slot.clear_folder()

    def _steps(self) -> contract.Result:
        spec = self._spec
        if self._run.archive:
            archive.unpack(Path(self._run.archive).read_bytes(), self._folder)
        if self._level == "bubblewrap":
            bubblewrap.give(self._folder)
        os.chdir(self._folder)
        if spec.compile is not None:
            end = self._step(spec.compile, "compile_", "/dev/null")
            if not end.is_well:
                state = {"timeout": TaskState.TIMED_OUT, "cancelled": TaskState.CANCELLED}.get(
                    end.cause, TaskState.COMPILE_FAILED
                )
                return self._ended(
                    state, f"compiling: {self._explain(end, spec.compile, reasons.first_error)}"
                )
            self._slot.say(contract.Progress(*self._key))
            if self._slot.is_cancelled(self._run):
                return self._ended(TaskState.CANCELLED, "cancelled after it was compiled")
        end = self._step(self._filled(spec.command), "", self._stdin())
        state = {"timeout": TaskState.TIMED_OUT, "cancelled": TaskState.CANCELLED}.get(
            end.cause, TaskState.SUCCEEDED if end.is_well else TaskState.FAILED
        )
        return self._ended(state, self._explain(end, spec.command))

    def _explain(
        self, end: step.End, asked: contract.Step, telling: Callable[[list[str]], str] = reasons.last_line
    ) -> str:
        """Why it ended as it did; if by itself, with the line of its errors that tells most."""
        why = reasons.explain(end, self._spec, asked.timeout_s)
        lines = reasons.printable_lines(self._streams[-1].data)
        return why if end.cause or end.is_well or not lines else f"{why}: {telling(lines)}"

    def _step(self, asked: contract.Step, prefix: str, stdin: str) -> step.End:
        streams = tuple(step.Stream(f"{prefix}{name}", self._spec.output) for name in ("stdout", "stderr"))
        self._streams += streams
        words, environment = self._words(asked.words), self._environment()
        memory, processes, watcher = self._spec.memory, self._spec.processes, self._slot.watcher(self._run)
        if self._level == "docker":
            environment = containers.environment(environment)
            memory, processes = 0, _CLIENT_PROCESSES  # the Engine keeps those of the container
        limits = step.Limits(asked.timeout_s, self._spec.cpu_s, memory, processes, self._spec.output)
        try:
            end = step.run(words, environment, stdin, limits, (streams[0], streams[1]), watcher)
        except FileNotFoundError:
            streams[1].take(f"{words[0]}: no such program\n".encode())
            end = step.End(127, None, "", 0.0, 0, 0.0)
        except PermissionError:
            streams[1].take(f"{words[0]}: may not be run\n".encode())
            end = step.End(126, None, "", 0.0, 0, 0.0)
        finally:
            ended = containers.remove(self._container) if self._level == "docker" else None
        if ended is not None and ended.was_out_of_memory and not end.cause:
            end = end._replace(cause="memory")
        self._ends.append(end)
        return end

    @property
    def _container(self) -> str:
        return f"parcs-task-{self._key[0]}-{self._key[1]}"

    def _words(self, words: list[str]) -> list[str]:
        spec = self._spec
        if self._level == "bubblewrap":
            return [*bubblewrap.words(str(self._folder), network=spec.network is True), *words]
        if self._level == "docker":
            variables = list(self._environment())
            before = containers.words(
                self._container, spec.image, str(self._folder), variables,
                network=spec.network is not False, memory=spec.memory, processes=spec.processes,
            )  # fmt: skip
            limit = ["--ulimit", f"cpu={math.ceil(spec.cpu_s)}"] if spec.cpu_s else []
            return [*before[:2], *limit, *before[2:], *words]
        return words

    def _environment(self) -> dict[str, str]:
        kept = (*_KEPT, *_ENGINE) if ENGINE in os.environ else _KEPT
        given = {name: os.environ[name] for name in kept if name in os.environ}
        own = {
            "HOME": str(self._folder),
            "PARCS_PYTHON": sys.executable,
            "PARCS_TASK": str(self._run.lease.task),
            "PARCS_ATTEMPT": str(self._run.lease.attempt),
        }
        return given | own | self._spec.environment | self._run.lease.parameters

    def _stdin(self) -> str:
        if not self._spec.stdin:
            return "/dev/null"
        file = self._base / "stdin"
        file.write_bytes(fill(self._spec.stdin, self._parameters()).encode())
        return str(file)

    def _filled(self, asked: contract.Step) -> contract.Step:
        values = self._parameters()
        return contract.Step([fill(word, values) for word in asked.words], asked.timeout_s)

    def _parameters(self) -> Mapping[str, str]:
        return self._run.lease.parameters if self._spec.is_array else {}

    def _ended(self, state: TaskState, why: str) -> contract.Result:
        last = self._ends[-1]
        has_run = len(self._ends) > (self._spec.compile is not None)
        files: dict[str, bytes] = {}
        if has_run and self._spec.outputs:
            files, excess = self._kept()
            if excess and state is TaskState.SUCCEEDED:
                state, why = TaskState.FAILED, excess
        matched = None
        if state is TaskState.SUCCEEDED and self._spec.expected is not None:
            matched = _lines(self._streams[-2].data.decode(errors="replace")) == _lines(self._spec.expected)
            why = (
                "its output is as expected" if matched else "it ended well, but its output is not as expected"
            )
        return contract.Result(
            *self._key,
            state=state,
            why=why,
            exit_code=last.exit_code if has_run else None,
            signal=last.signal if has_run else None,
            compile_exit_code=self._ends[0].exit_code if self._spec.compile is not None else None,
            matched=matched,
            took_s=sum(end.took_s for end in self._ends),
            cpu_s=sum(end.cpu_s for end in self._ends),
            memory=max(end.memory for end in self._ends),
            streams={
                s.name: (s.told, bytes(s.data[s.told :])) for s in self._streams if len(s.data) > s.told
            },
            files=files,
        )

    def _failed(self, why: str) -> contract.Result:
        return contract.Result(*self._key, state=TaskState.FAILED, why=why)

    def _kept(self) -> tuple[dict[str, bytes], str]:
        """The files to keep, and what is wrong with them."""
        found: dict[str, bytes] = {}
        left = self._spec.files
        inside = self._folder.resolve()
        for pattern in self._spec.outputs:
            for path in sorted(self._folder.glob(pattern)):
                if not path.is_file() or path.is_symlink() or not path.resolve().is_relative_to(inside):
                    continue
                left -= path.stat().st_size
                if left < 0:
                    return found, f"its output files have more than {describe_bytes(self._spec.files)}"
                name = path.relative_to(self._folder).as_posix()
                raw = os.fsencode(name)
                if len(raw) > _LONGEST_NAME or raw.decode(errors="replace") != name:
                    return (
                        found,
                        f"the name of an output file has more than {_LONGEST_NAME} bytes, or is no UTF-8",
                    )
                if len(found) == _MOST_FILES:
                    return found, f"it has more than {_MOST_FILES} output files"
                found[name] = path.read_bytes()
        return found, ""


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put an array's values where {name} stands."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _lines(text: str) -> list[str]:
    """A text's lines without the space at their ends: what people mean by the same output."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _make_writable(function: object, path: str, _: object) -> None:
    """A task may leave folders in which nothing can be removed."""
    with contextlib.suppress(OSError):
        os.chmod(Path(path).parent, 0o700)
        os.chmod(path, 0o700)
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


def main() -> None:
    """A slot's whole life. When its agent is killed, their socket ends: the slot ends its task, and itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent
    step.once()
    agent = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    slot = Slot(agent, Path(sys.argv[1]), sys.argv[2])
    try:
        slot.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the agent has gone: nobody is left to tell
    finally:
        slot.close()


if __name__ == "__main__":
    main()
