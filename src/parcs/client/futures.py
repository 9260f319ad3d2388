"""Tasks as `concurrent.futures` has it: each future's result is a task's standard output."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final

from parcs import errors
from parcs.client.hub import Hub, request_of
from parcs.contract import tasks as contract

_TURN_S: Final = 10.0
_PART: Final = 500


class TaskExecutor(Executor):
    """Submits commands to a hub.

        with TaskExecutor() as executor:
            futures = [executor.submit(["./main", str(n)]) for n in range(10)]
            print([future.result() for future in futures])

    A future's result is the standard output, as text; a task that does not succeed raises `TaskFailedError`.
    """

    def __init__(self, hub: Hub | None = None) -> None:
        self._hub = hub or Hub()
        self._is_own = hub is None
        self._futures: dict[int, Future[str]] = {}
        self._changed = threading.Condition()
        self._is_shut = False
        self._thread = threading.Thread(target=self._watch, name="parcs-tasks", daemon=True)
        self._thread.start()

    def submit(self, command: Any, /, *arguments: Any, **more: Any) -> Future[str]:  # type: ignore[override]  # commands, not functions
        """Submit a command (a line, or a list of words); ``more`` as `Hub.submit` has it."""
        if isinstance(command, str) and arguments:
            command = [command, *map(str, arguments)]
        return self.submit_all([request_of(command, None, more)])[0]

    def submit_all(self, requests: Sequence[contract.TaskRequest]) -> list[Future[str]]:
        """Submit many at once."""
        with self._changed:
            if self._is_shut:
                raise RuntimeError("cannot submit after shutdown")
        submitted = self._hub.submit_all(requests)
        futures = [_TaskFuture(self._hub, submitted.first + i) for i in range(submitted.count)]
        with self._changed:
            self._futures |= {future.number: future for future in futures}
            self._changed.notify()
        return list(futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing new; with ``wait``, return when all is over."""
        with self._changed:
            self._is_shut = True
            numbers = list(self._futures)
            self._changed.notify()
        if cancel_futures and numbers:
            self._hub.cancel(*numbers)
        if wait:
            self._thread.join()
            if self._is_own:
                self._hub.close()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._futures:
                    if self._is_shut:
                        return
                    self._changed.wait()
                numbers = list(self._futures)[:_PART]
            try:
                self._look(numbers)
            except errors.ParcsError as error:
                with self._changed:
                    lost, self._futures = self._futures, {}
                for future in lost.values():
                    future.set_exception(error)

    def _look(self, numbers: list[int]) -> None:
        oldest = numbers[0]
        self._hub.wait_some(
            contract.Query(ids=[oldest]), _TURN_S if len(self._futures) == len(numbers) else 1.0
        )
        for task in self._hub.tasks(ids=numbers):
            if task.ended is None:
                continue
            with self._changed:
                future = self._futures.pop(task.id, None)
            if future is None or not future.set_running_or_notify_cancel():
                continue
            if task.state == "succeeded":
                future.set_result(self._hub.output(task.id))
            else:
                why = self._hub.explain(task.id)
                future.set_exception(
                    errors.TaskFailedError(f"task {task.id} ended as {task.state}: {why}", task)
                )


class _TaskFuture(Future[str]):
    """A future that can be cancelled on the hub."""

    def __init__(self, hub: Hub, number: int) -> None:
        super().__init__()
        self.number, self._hub = number, hub

    def cancel(self) -> bool:
        """Cancel the task."""
        if self.done():
            return False
        self._hub.cancel(self.number)
        return super().cancel()
