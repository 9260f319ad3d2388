"""Pool: a `concurrent.futures.Executor` whose workers are points.

Workers stay warm between tasks. Tasks are sent by whoever makes room for them: the thread that submits, or
the one that took a result. Results are received by one thread at a time (receiver.py). A worker that dies is
replaced, and its tasks are run again, one at a time, so that the one that kills its worker is found out.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import sys
import threading
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from parcs import errors
from parcs.channel.waiting import OWN_THREAD
from parcs.contract.engine import QUIET_VARIABLE
from parcs.engine.base import Engine
from parcs.point import Point
from parcs.pool import mapping, messages
from parcs.pool.by_value import OwnModules
from parcs.pool.pace import Pace
from parcs.pool.receiver import Receiver

P = ParamSpec("P")
T = TypeVar("T")

MODULE = "parcs/pool-worker"
_REPLACE_ATTEMPTS = 3
_RECALL_AFTER_S = 0.2


class _Future(Future[T]):
    """A future whose waiting thread helps to receive."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver

    def result(self, timeout: float | None = None) -> T:
        return super().result(self._receiver.help(self.done, timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._receiver.help(self.done, timeout))


class _Task:
    """One call on its way."""

    __slots__ = ("alone", "args", "function", "future", "kwargs", "losses", "number")

    def __init__(
        self,
        number: int,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future[Any],
    ) -> None:
        self.number, self.function, self.args, self.kwargs, self.future = (
            number,
            function,
            args,
            kwargs,
            future,
        )
        self.losses = 0
        self.alone = False


class _Worker:
    """One worker point and what it has been given."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.tasks: dict[int, _Task] = {}
        self.known: set[int] = set()
        self.works: dict[int, list[int]] = {}
        self.works_sent = 0
        self.heard = time.monotonic()
        self.recalled = False
        self.is_lost = False


class Pool(Executor):
    """Runs functions on worker points.

    Args:
        workers: how many; this machine's processors if None.
        engine: where they run; `parcs.connect()` if None, and then closed with the pool.
        initializer, initargs: called once in each worker before its first task.
        resources: what each worker needs, and where it may run, as for `Engine.run`.
        retries: how often a task may be run again after its worker died. A task that must never run
            twice wants 0.

    Raises:
        PointStartError, EngineError: the workers could not be started.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        engine: Engine | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        resources: Mapping[str, Any] | None = None,
        retries: int = 2,
    ) -> None:
        self.workers = workers if workers is not None else processors()
        if self.workers < 1:
            raise ValueError("a pool needs at least one worker")
        self._setup = (messages.SETUP, [os.getcwd(), *sys.path], initializer, initargs)
        self._retries, self._resources = retries, resources
        self._engine = _connect() if engine is None else engine
        self._owns_engine = engine is None
        self._own_modules = None if self._engine.is_here else OwnModules()
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._pending: deque[_Task] = deque()
        self._numbers = itertools.count()
        self._keys: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._key_numbers = itertools.count()
        self._pace = Pace()
        self._workers: dict[str, _Worker] = {}
        self._replacing: list[threading.Thread] = []
        self._receiver = Receiver(self._has_work, self._receive, self._on_quiet)
        self._no_more = self._closed = False
        self._broken: errors.PoolError | None = None
        try:
            for point in self._start_points(self.workers):
                self._employ(point)
        except BaseException:
            self._receiver.close()
            if self._owns_engine:
                self._engine.close()
            raise
        self._at_exit = functools.partial(_shut_down, weakref.ref(self))
        atexit.register(self._at_exit)

    # --- concurrent.futures ----------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call ``fn(*args, **kwargs)``.

        Functions and arguments go by cloudpickle: lambdas, closures and what ``__main__`` defines work;
        to a cluster, modules of one's own go along, while installed ones have to be in the workers' image.
        """
        future: _Future[T] = _Future(self._receiver)
        task = _Task(next(self._numbers), fn, args, kwargs, future)
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._no_more:
                raise RuntimeError("cannot schedule new futures after shutdown")  # the words of Executor
            self._pending.append(task)
            self._dispatch()
        self._receiver.notify()
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        progress: bool = False,
    ) -> Iterator[T]:
        """As `map`, in order, on the workers.

        Args:
            timeout: seconds for all results, counted from this call.
            chunksize: items per task. Short tasks are batched anyway; chunks save their futures too.
            progress: draw a progress bar on standard error.
        """
        if chunksize < 1:
            raise ValueError("chunksize should be at least 1")
        deadline = None if timeout is None else time.monotonic() + timeout
        items = zip(*iterables, strict=False)
        if chunksize == 1:
            futures: list[Future[Any]] = [self.submit(fn, *item) for item in items]
        else:
            futures = [
                self.submit(mapping.call_each, fn, chunk) for chunk in mapping.chunks(items, chunksize)
            ]
        results = mapping.results(futures, deadline)
        if progress:
            results = mapping.with_progress(results, len(futures), getattr(fn, "__name__", "tasks"))
        return results if chunksize == 1 else itertools.chain.from_iterable(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers; once nothing is left to do unless ``cancel_futures``. Twice does nothing."""
        with self._lock:
            self._no_more = True
            if cancel_futures:
                for task in self._pending:
                    task.future.cancel()
                self._pending.clear()
            if wait:
                self._idle.wait_for(self._is_idle)
            elif not self._is_idle():
                threading.Thread(
                    target=self.shutdown, name=f"{OWN_THREAD}pool-shutdown", daemon=False
                ).start()
                return
            self._closed = True
            workers, self._workers = self._workers, {}
        atexit.unregister(self._at_exit)
        for worker in workers.values():
            worker.point.shutdown()
        for thread in self._replacing:
            thread.join()
        self._receiver.close()
        if self._owns_engine:
            self._engine.close()

    @property
    def statistics(self) -> dict[str, int]:
        """How many workers there are, and how many tasks wait and are with workers."""
        with self._lock:
            running = sum(len(worker.tasks) for worker in self._workers.values())
            return {"workers": len(self._workers), "waiting": len(self._pending), "running": running}

    # --- workers ---------------------------------------------------------------------------------

    def _start_points(self, count: int) -> list[Point]:
        return self._engine.run_all(
            MODULE, count, environment={QUIET_VARIABLE: "1"}, resources=self._resources
        )

    def _employ(self, point: Point) -> None:
        if self._own_modules is not None:
            self._own_modules.register()  # for the initializer
        messages.send(point.channel, self._setup)
        worker = _Worker(point)
        with self._lock:
            if self._closed:  # a replacement that came too late
                point.shutdown()
                return
            self._workers[str(point.name)] = worker
            self._dispatch()
        self._receiver.add(point.channel, worker)

    def _has_work(self) -> bool:
        return any(worker.tasks for worker in list(self._workers.values()))

    def _on_quiet(self) -> None:
        """Nothing has come for a while: perhaps one worker hoards what another could do."""
        with self._lock:
            self._dispatch()

    def _receive(self, worker: _Worker) -> bool:
        """Take what a worker has sent; False once it has ended."""
        try:
            channel = worker.point.channel
            if channel.poll():
                self._take(worker, worker.point.recv())
                while channel.inbox:
                    self._take(worker, worker.point.recv())
        except errors.ChannelClosedError:
            return False
        except errors.ParcsError as error:
            self._lost(worker, error)
            return False
        return True

    def _take(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        kind = message[0]
        done: list[tuple[_Task, bool, Any]] = []
        with self._lock:
            worker.heard = time.monotonic()
            if kind == messages.DONE:
                _, results, seconds = message
                self._pace.measured(len(results), seconds)
                for number, ok, value in results:
                    task = worker.tasks.pop(number, None)
                    if task is not None:
                        done.append((task, ok, value))
            elif kind == messages.RETURNED:
                worker.recalled = False
                self._requeue([worker.tasks.pop(number) for number in message[1] if number in worker.tasks])
            elif kind == messages.UNREAD:
                done += self._unread(worker, message[1], message[2])
            elif kind == messages.BROKEN:
                error = errors.PoolError("the initializer failed, so no worker can start")
                error.__cause__ = message[1].to_raise(str(worker.point.name))
                self._break(error)
            self._dispatch()
            if self._is_idle():
                self._idle.notify_all()
        for task, ok, value in done:
            if ok:
                task.future.set_result(value)
            else:
                task.future.set_exception(value.to_raise(str(worker.point.name)))

    def _unread(self, worker: _Worker, number: int, reason: str) -> list[tuple[_Task, bool, Any]]:
        """A worker could not unpickle what it was sent: find out which task it was."""
        tasks = [worker.tasks.pop(n) for n in worker.works.pop(number, []) if n in worker.tasks]
        worker.known.clear()  # functions of that message are not there either
        if len(tasks) == 1:
            lost = messages.Failure(
                None, "DecodeError", f"the worker cannot unpickle this task: {reason}", ""
            )
            return [(tasks[0], False, lost)]
        for task in tasks:
            task.alone = True
        self._requeue(tasks)
        return []

    def _lost(self, worker: _Worker, error: errors.ParcsError) -> None:
        """A worker died: run its tasks again elsewhere, and replace it."""
        name = str(worker.point.name)
        failed: list[_Task] = []
        with self._lock:
            if self._workers.pop(name, None) is None:
                return
            again: list[_Task] = []
            for task in worker.tasks.values():
                task.losses += 1
                task.alone = True
                (again if task.losses <= self._retries else failed).append(task)
            worker.tasks = {}
            self._requeue(again)
            is_needed = self._broken is None and (not self._no_more or bool(self._pending))
        worker.point.shutdown()
        for task in failed:
            lost = errors.WorkerLostError(
                f"this task's worker died {task.losses} times (retries={self._retries}), last: {error}"
            )
            lost.__cause__ = error
            task.future.set_exception(lost)
        if is_needed:
            thread = threading.Thread(target=self._replace, name=f"{OWN_THREAD}pool-replace", daemon=True)
            self._replacing.append(thread)
            thread.start()
        with self._lock:
            if self._is_idle():
                self._idle.notify_all()

    def _replace(self) -> None:
        for attempt in range(_REPLACE_ATTEMPTS):
            try:
                for point in self._start_points(1):
                    self._employ(point)
                return
            except (
                errors.PointError
            ) as error:  # it died young, perhaps with its machine: once more, elsewhere
                if attempt + 1 == _REPLACE_ATTEMPTS:
                    self._give_up(error)
            except errors.ParcsError as error:
                self._give_up(error)
                return

    def _give_up(self, error: errors.ParcsError) -> None:
        """No new worker can be had: if none is left, the pool is broken."""
        with self._lock:
            if not self._workers:
                broken = errors.PoolError(f"no worker is left, and a new one could not be started: {error}")
                broken.__cause__ = error
                self._break(broken)

    def _break(self, error: errors.PoolError) -> None:
        """Nothing can be run any more; called with the lock held."""
        self._broken = error
        for task in [*self._pending, *(t for w in self._workers.values() for t in w.tasks.values())]:
            if not task.future.done():
                task.future.set_exception(error)
        self._pending.clear()
        for worker in self._workers.values():
            worker.tasks.clear()
        self._idle.notify_all()

    # --- tasks -----------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        return not self._pending and not any(worker.tasks for worker in self._workers.values())

    def _requeue(self, tasks: list[_Task]) -> None:
        self._pending.extendleft(reversed(tasks))

    def _dispatch(self) -> None:
        """Give tasks to workers that have room; called with the lock held."""
        if not self._pending:
            self._recall()
            return
        batch, held = self._pace.allowance
        for worker in sorted(self._workers.values(), key=lambda w: len(w.tasks)):
            while self._pending and not worker.is_lost and self._has_room(worker, batch, held):
                if self._pending[0].alone and worker.tasks:
                    break
                tasks = self._next_batch(batch)
                if tasks:
                    self._give(worker, tasks)
                if any(task.alone for task in worker.tasks.values()):
                    break

    def _has_room(self, worker: _Worker, batch: int, held: int) -> bool:
        """Whether to send now: at once to a worker that is short of work, else in whole batches."""
        has = len(worker.tasks)
        return has == 0 or has < batch // 2 or (has + batch <= held and len(self._pending) >= batch)

    def _next_batch(self, size: int) -> list[_Task]:
        tasks: list[_Task] = []
        while self._pending and len(tasks) < size:
            task = self._pending[0]
            if task.alone and tasks:
                break
            self._pending.popleft()
            if task.future.running() or task.future.set_running_or_notify_cancel():
                tasks.append(task)
            if task.alone:
                break
        return tasks

    def _give(self, worker: _Worker, tasks: list[_Task]) -> None:
        functions: dict[int, Callable[..., Any]] = {}
        calls = []
        if self._own_modules is not None:
            self._own_modules.register()
        for task in tasks:
            key = self._key(task.function)
            if key not in worker.known:
                functions[key] = task.function
            calls.append((task.number, key, task.args, task.kwargs))
        try:
            messages.send(worker.point.channel, (messages.WORK, functions, calls))
        except (errors.EncodeError, errors.FrameTooLargeError) as error:
            if len(tasks) == 1:
                tasks[0].future.set_exception(error)
            else:
                for task in tasks:
                    self._give(worker, [task])
            return
        except errors.ParcsError:
            self._requeue(tasks)  # the receiver meets the same error, and replaces the worker
            worker.is_lost = True
            return
        worker.known.update(key for key, function in functions.items() if _is_constant(function))
        worker.works_sent += 1
        worker.works = {n: ids for n, ids in worker.works.items() if any(i in worker.tasks for i in ids)}
        worker.works[worker.works_sent] = [task.number for task in tasks]
        worker.tasks.update((task.number, task) for task in tasks)

    def _key(self, function: Callable[..., Any]) -> int:
        """A number for a function that never changes, the same each time; a new one for any other."""
        if not _is_constant(function):
            return next(self._key_numbers)
        key = self._keys.get(function)
        if key is None:
            key = self._keys[function] = next(self._key_numbers)
        return key

    def _recall(self) -> None:
        """Nothing waits: if one worker is idle and another hoards, have the hoard given back."""
        now = time.monotonic()
        if all(worker.tasks for worker in self._workers.values()):
            return
        for worker in self._workers.values():
            if len(worker.tasks) > 1 and now - worker.heard > _RECALL_AFTER_S and not worker.recalled:
                worker.recalled = True
                try:
                    messages.send(worker.point.channel, (messages.RECALL, len(worker.tasks) - 1))
                except errors.ParcsError:
                    worker.is_lost = True  # the receiver meets the same error, and replaces it


def _is_constant(function: Callable[..., Any]) -> bool:
    """Whether a function is the same each time it is sent: nothing is bound to it that may change."""
    return isinstance(function, types.FunctionType) and function.__closure__ is None


def _connect() -> Engine:
    from parcs.engine import registry

    return registry.connect()


def processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shut_down(pool: weakref.ref[Pool]) -> None:
    alive = pool()
    if alive is not None:
        alive.shutdown()
