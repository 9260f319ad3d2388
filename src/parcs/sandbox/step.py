"""One command of a task: started, fed, listened to, watched, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from parcs.sandbox import cgroup, tree

_CHUNK: Final = 1 << 16
_LOOK_S: Final = 0.1
_GRACE_S: Final = 1.0
"""Between asking a cancelled task to end and ending it: all is over within two seconds."""
_LARGEST_FILE: Final = 4 << 30


class Limits(NamedTuple):
    """What a step may take; 0 is no limit."""

    timeout_s: float
    cpu_s: float
    memory: int
    processes: int
    output: int


class End(NamedTuple):
    """How a step ended. ``cause`` is empty if it ended by itself, else which limit it met, or ``cancelled``."""

    exit_code: int | None
    signal: int | None
    cause: str
    cpu_s: float
    memory: int
    took_s: float

    @property
    def is_well(self) -> bool:
        """It ended by itself, with status 0."""
        return not self.cause and self.exit_code == 0


class Stream:
    """What a task writes: kept up to a limit, and told piece by piece while it runs."""

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.data = bytearray()
        self.told = 0

    def take(self, data: bytes) -> bool:
        """Keep it; False if it is more than may be."""
        room = self.limit - len(self.data)
        self.data += data[:room]
        return len(data) <= room


class Watcher:
    """What a step has of the slot that runs it.

    Args:
        tell: is given a stream that has something new, now and then.
        control: a descriptor that is readable when somebody may have asked for the step's end.
        is_cancelled: reads it; True if so.
    """

    def __init__(
        self,
        group: cgroup.Group | None,
        tell: Callable[[Stream], None],
        control: int,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.group, self.tell, self.control, self.is_cancelled = group, tell, control, is_cancelled


def once() -> None:
    """Set what holds for every step: once in the life of a slot."""
    tree.become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = _LARGEST_FILE if hard == resource.RLIM_INFINITY else min(hard, _LARGEST_FILE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def run(
    words: Sequence[str],
    environment: Mapping[str, str],
    stdin: str,
    limits: Limits,
    streams: tuple[Stream, Stream],
    watcher: Watcher,
) -> End:
    """Run a command in the current folder, to the end of every process that it started.

    Args:
        stdin: the path of a file.

    Raises:
        OSError: it could not be started.
    """
    reads = [os.pipe2(os.O_CLOEXEC) for _ in streams]
    begin = time.monotonic()
    try:
        pid = _spawn(words, environment, stdin, [write for _, write in reads], limits, watcher.group)
    except BaseException:
        for read, _ in reads:
            os.close(read)
        raise
    finally:
        for _, write in reads:
            os.close(write)
    loop = _Loop(
        pid, {read: stream for (read, _), stream in zip(reads, streams, strict=True)}, limits, watcher
    )
    return loop.run(begin)


def _spawn(
    words: Sequence[str],
    environment: Mapping[str, str],
    stdin: str,
    writes: Sequence[int],
    limits: Limits,
    group: cgroup.Group | None,
) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, write, 1 + i) for i, write in enumerate(writes)),
    ]
    entering: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if group is not None:
        group.set(limits.memory, limits.processes, is_measured=bool(limits.cpu_s or limits.memory))
        entering = group.entered()
    with entering:
        return os.posix_spawnp(
            words[0],
            list(words),
            dict(environment),
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT),  # Python ignores or takes these
        )


class _Loop:
    """Waits for everything at once: the streams, the process, the clock, and whoever may want its end."""

    def __init__(self, pid: int, streams: dict[int, Stream], limits: Limits, watcher: Watcher) -> None:
        self._pid, self._streams, self._limits, self._watcher = pid, streams, limits, watcher
        self._handle = os.pidfd_open(pid)
        self._poller = select.poll()
        for descriptor in (*streams, self._handle, watcher.control):
            self._poller.register(descriptor, select.POLLIN)
        self._cause = ""
        self._cpu_s, self._memory = 0.0, 0
        self._is_grace_over = float("inf")

    def run(self, begin: float) -> End:
        deadline = begin + self._limits.timeout_s if self._limits.timeout_s else float("inf")
        look = begin + _LOOK_S
        try:
            while True:
                now = time.monotonic()
                if now >= deadline and not self._cause:
                    self._end("timeout")
                if now >= self._is_grace_over:
                    self._kill()
                if now >= look:
                    self._look()
                    look = now + _LOOK_S
                until = min(deadline if not self._cause else float("inf"), look, self._is_grace_over)
                if self._turn(max(0.0, until - time.monotonic())):
                    break
            took = time.monotonic() - begin
            code, usage = self._reap()
            return self._ending(code, usage, took)
        finally:
            for descriptor in (*self._streams, self._handle):
                os.close(descriptor)

    def _turn(self, wait_s: float) -> bool:
        """Do what is ready; True if the process has ended."""
        is_over = False
        for descriptor, _ in self._poller.poll(wait_s * 1000 + 0.5):
            if descriptor == self._handle:
                is_over = True
            elif descriptor == self._watcher.control:
                if self._watcher.is_cancelled() and not self._cause:
                    self._cause = "cancelled"
                    self._is_grace_over = time.monotonic() + _GRACE_S
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._pid, signal.SIGTERM)
            elif self._read(descriptor) == 0:
                self._poller.unregister(descriptor)
        return is_over

    def _read(self, descriptor: int) -> int:
        data = os.read(descriptor, _CHUNK)
        if data and not self._streams[descriptor].take(data) and not self._cause:
            self._end("output")
        return len(data)

    def _end(self, cause: str) -> None:
        self._cause = cause
        self._kill()

    def _kill(self) -> None:
        """End the process and all below it. It is reaped later: it is a zombie until then."""
        self._is_grace_over = float("inf")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _look(self) -> None:
        """Tell what is new; and see whether a limit is passed that nobody else watches."""
        for stream in self._streams.values():
            if len(stream.data) > stream.told:
                self._watcher.tell(stream)
        limits, group = self._limits, self._watcher.group
        if group is not None:
            if limits.cpu_s and (group.usage().cpu_s or 0.0) > limits.cpu_s and not self._cause:
                self._end("cpu")
            return
        used = tree.usage(os.getpid())
        self._memory = max(self._memory, used.memory)
        self._cpu_s = max(self._cpu_s, used.cpu_s)
        passed = {
            "cpu": limits.cpu_s and used.cpu_s > limits.cpu_s,
            "memory": limits.memory and used.memory > limits.memory,
            "processes": limits.processes and used.processes > limits.processes,
        }
        if not self._cause and (cause := next((name for name, is_so in passed.items() if is_so), "")):
            self._cause = cause
            tree.kill_but(os.getpid(), self._pid)
            self._kill()

    def _reap(self) -> tuple[int, resource.struct_rusage]:
        """Take the process's status, end what it left, and read what is left in the pipes."""
        _, status, usage = os.wait4(self._pid, 0)
        if not tree.reap():
            if self._watcher.group is not None:
                self._watcher.group.kill()
            tree.kill(os.getpid())
        for descriptor, stream in self._streams.items():
            while data := os.read(descriptor, _CHUNK):
                if not stream.take(data) and not self._cause:
                    self._cause = "output"
        return status, usage

    def _ending(self, status: int, usage: resource.struct_rusage, took_s: float) -> End:
        cpu = max(self._cpu_s, usage.ru_utime + usage.ru_stime)
        memory = max(self._memory, usage.ru_maxrss * 1024)
        if memory <= _own_peak():  # counted before it became the program: until then it shared ours
            memory = self._memory
        group = self._watcher.group
        # What it waited for itself, the process's own figures have; the group has all, at the price of reading
        # files. Who was killed has waited for nobody.
        is_partial = self._limits.cpu_s or self._limits.memory or self._cause or os.WIFSIGNALED(status)
        if group is not None and is_partial:
            measured = group.usage()
            cpu = max(cpu, measured.cpu_s or 0.0)
            memory = measured.memory or memory
            if measured.was_out_of_memory and not self._cause:
                self._cause = "memory"
            if self._limits.cpu_s and cpu > self._limits.cpu_s and not self._cause:
                self._cause = "cpu"
        code = os.waitstatus_to_exitcode(status)
        return End(code if code >= 0 else None, -code if code < 0 else None, self._cause, cpu, memory, took_s)


def _own_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
