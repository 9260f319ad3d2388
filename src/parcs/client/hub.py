"""A hub as a program sees it, blocking or not. What is asked is in `calls`, once for both."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.request import getproxies

import httpx2
import msgspec

from parcs import archive, errors
from parcs.client import calls
from parcs.client.calls import Call, Retry
from parcs.client.place import Place, find
from parcs.contract import tasks as contract

T = TypeVar("T")

_TIMEOUT: Final = httpx2.Timeout(30.0, connect=2.0)
_TURN_S: Final = 10.0
"""How long a hub may keep a question until there is an answer; a hub that stands still is left soon after."""
_LATE_S: Final = 5.0
_OPTIONS: Final = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 2),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 5000),
    )
    if hasattr(socket, name)
)
"""So that a machine that is gone is noticed while nothing is sent to it."""
_PAGE: Final = 500
_IDS: Final = 5000


class Piece(NamedTuple):
    """Something a task wrote, or (``stream`` is ``state``) the state that it came to."""

    stream: str
    text: str


def request_of(
    command: str | Sequence[str], files: Mapping[str, str] | None, more: Mapping[str, Any]
) -> contract.TaskRequest:
    """A request from the words of a call.

    Raises:
        InvalidRequestError: there is no such word.
    """
    try:
        limits = more.get("limits")
        given = dict(more)
        if isinstance(limits, Mapping):
            given["limits"] = contract.Limits(**limits)
        if isinstance(step := more.get("compile"), str):
            given["compile"] = contract.Compile(step)
        return contract.TaskRequest(command, files=files or {}, **given)
    except TypeError as error:
        raise errors.InvalidRequestError(str(error).rpartition("() ")[2]) from error


class _Place:
    """What both kinds of hub are made with."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, budget_s: float = calls.BUDGET_S
    ) -> None:
        """A hub: the one of this machine, of ``parcs login``, or the one named.

        Args:
            url: its addresses, with commas between them.
            budget_s: for how long a request is repeated while no hub takes it.

        Raises:
            SettingsError: no hub is known.
        """
        self.place: Place = find(url, token)
        self._budget_s = budget_s
        self._first = random.randrange(len(self.place.urls))  # noqa: S311  # so that clients spread over the hubs
        self._headers = {"Authorization": f"Bearer {self.place.token}"}

    def _words(self, call: Call[Any], url: str) -> dict[str, Any]:
        return {
            "method": call.method,
            "url": f"{url}{contract.API}{call.path}",
            "params": list(call.params),
            "content": call.body,
            "headers": {**self._headers, **(call.headers or {})},
            "timeout": _TIMEOUT
            if call.wait_s is None
            else httpx2.Timeout(call.wait_s + _LATE_S, connect=2.0),
        }


class Hub(_Place):
    """A hub. Every method raises `HubError` (see `parcs.errors`) when the hub refuses or does not answer."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, budget_s: float = calls.BUDGET_S
    ) -> None:
        super().__init__(url, token, budget_s=budget_s)
        transport = None if getproxies() else httpx2.HTTPTransport(socket_options=_OPTIONS)
        self._http = httpx2.Client(timeout=_TIMEOUT, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def do(self, call: Call[T]) -> T:
        """Perform a call, again and again within the budget if no hub takes it."""
        retry = Retry(self.place.urls, self._budget_s, time.monotonic(), self._first)
        while True:
            try:
                answer = self._http.request(**self._words(call, retry.url))
            except httpx2.HTTPError as error:
                time.sleep(retry.failed(str(error) or type(error).__name__, time.monotonic()))
                continue
            if answer.is_success:
                self._first = retry.place
                return call.decode(answer.content)
            problem = calls.error_of(answer.status_code, answer.content)
            if not calls.is_passing(answer.status_code):
                raise problem
            time.sleep(retry.failed(str(problem), time.monotonic()))

    def submit(
        self, command: str | Sequence[str], files: Mapping[str, str] | None = None, **more: Any
    ) -> contract.Submitted:
        """Submit a task; returns when it is safe. ``more`` as `TaskRequest` has it.

        Timeout_s, stdin, limits, array, ...
        """
        return self.do(calls.submit([request_of(command, files, more)]))

    def run(
        self, command: str | Sequence[str], files: Mapping[str, str] | None = None, **more: Any
    ) -> contract.TaskDetail:
        """Submit a task, and wait until it is over: as `submit` and `wait`, but faster for a short one."""
        detail = self.do(calls.run(request_of(command, files, more), _TURN_S))
        return detail if detail.task.ended is not None else self.wait(detail.task.id)

    def submit_all(self, requests: Sequence[contract.TaskRequest]) -> contract.Submitted:
        """Submit many, all or none."""
        return self.do(calls.submit(requests))

    def task(self, number: int) -> contract.TaskDetail:
        """A task whole."""
        return self.do(calls.detail(number))

    def page(
        self, query: contract.Query, limit: int = 50, cursor: str | None = None, order: str = "desc"
    ) -> contract.TaskPage:
        """Some of the tasks that a query means."""
        return self.do(calls.search(query, limit, cursor, order))

    def tasks(self, *, order: str = "desc", **query: Any) -> Iterator[contract.Task]:
        """All tasks that a query (as `Query` has it) means, page by page."""
        cursor: str | None = None
        while True:
            page = self.page(contract.Query(**query), _PAGE, cursor, order)
            yield from page.tasks
            if (cursor := page.next) is None:
                return

    def counts(self, **query: Any) -> dict[str, int]:
        """How many tasks are in each state."""
        return self.do(calls.counts(contract.Query(**query)))

    def wait(self, number: int, timeout_s: float | None = None) -> contract.TaskDetail:
        """A task, when it is over.

        Raises:
            TimeoutError: it is not, after ``timeout_s``.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = _TURN_S if deadline is None else min(_TURN_S, deadline - time.monotonic())
            found = self.do(calls.detail(number, max(0.0, left)))
            if found.task.ended is not None:
                return found
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"task {number} is {found.task.state} after {timeout_s:g} s")

    def wait_some(self, query: contract.Query, timeout_s: float) -> dict[str, int]:
        """Counts, when all that are meant are over, or after at most a minute."""
        return self.do(calls.wait(query, timeout_s))

    def output(self, number: int, name: str = "stdout", attempt: int = 0) -> str:
        """What a task wrote, as text."""
        return self.data(number, name, attempt).decode(errors="replace")

    def data(self, number: int, name: str = "stdout", attempt: int = 0, start: int = 0) -> bytes:
        """What a task wrote: a stream, or a kept file as ``file/PATH``."""
        return self.do(calls.output(number, name, attempt, start))

    def follow(self, number: int) -> Iterator[Piece]:
        """What a task writes, as it does, until it is over."""
        return _follow(self, number)

    def explain(self, number: int) -> str:
        """Why it waits, or why it ended."""
        return self.do(calls.explain(number))["why"]

    def cancel(self, *numbers: int, **query: Any) -> int:
        """Cancel tasks; gives how many were not over yet."""
        return self.do(calls.cancel(contract.Query(ids=numbers, **query))).count

    def delete(self, *numbers: int, **query: Any) -> int:
        """Delete tasks that are over; gives how many."""
        return self.do(calls.delete(contract.Query(ids=numbers, **query))).count

    def rerun(self, number: int) -> contract.Submitted:
        """Submit the same once more."""
        return self.do(calls.rerun(number))

    def upload(self, source: Path | bytes) -> contract.Uploaded:
        """Upload a folder, or an archive, for tasks to have."""
        return self.do(calls.upload(packed(source)))

    def executors(self) -> list[contract.Executor]:
        """Every executor."""
        return self.do(calls.executors())

    def hubs(self) -> list[contract.HubSeen]:
        """Every hub of the same database."""
        return self.do(calls.hubs())


class AsyncHub(_Place):
    """A hub, for asyncio; the same verbs as `Hub`."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, budget_s: float = calls.BUDGET_S
    ) -> None:
        super().__init__(url, token, budget_s=budget_s)
        transport = None if getproxies() else httpx2.AsyncHTTPTransport(socket_options=_OPTIONS)
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def do(self, call: Call[T]) -> T:
        """Perform a call, again and again within the budget if no hub takes it."""
        retry = Retry(self.place.urls, self._budget_s, time.monotonic(), self._first)
        while True:
            try:
                answer = await self._http.request(**self._words(call, retry.url))
            except httpx2.HTTPError as error:
                await asyncio.sleep(retry.failed(str(error) or type(error).__name__, time.monotonic()))
                continue
            if answer.is_success:
                self._first = retry.place
                return call.decode(answer.content)
            problem = calls.error_of(answer.status_code, answer.content)
            if not calls.is_passing(answer.status_code):
                raise problem
            await asyncio.sleep(retry.failed(str(problem), time.monotonic()))

    async def submit(
        self, command: str | Sequence[str], files: Mapping[str, str] | None = None, **more: Any
    ) -> contract.Submitted:
        """Submit a task; returns when it is safe."""
        return await self.do(calls.submit([request_of(command, files, more)]))

    async def run(
        self, command: str | Sequence[str], files: Mapping[str, str] | None = None, **more: Any
    ) -> contract.TaskDetail:
        """Submit a task, and wait until it is over."""
        detail = await self.do(calls.run(request_of(command, files, more), _TURN_S))
        return detail if detail.task.ended is not None else await self.wait(detail.task.id)

    async def submit_all(self, requests: Sequence[contract.TaskRequest]) -> contract.Submitted:
        """Submit many, all or none."""
        return await self.do(calls.submit(requests))

    async def task(self, number: int) -> contract.TaskDetail:
        """A task whole."""
        return await self.do(calls.detail(number))

    async def tasks(self, *, order: str = "desc", **query: Any) -> AsyncIterator[contract.Task]:
        """All tasks that a query means, page by page."""
        cursor: str | None = None
        while True:
            page = await self.do(calls.search(contract.Query(**query), _PAGE, cursor, order))
            for task in page.tasks:
                yield task
            if (cursor := page.next) is None:
                return

    async def counts(self, **query: Any) -> dict[str, int]:
        """How many tasks are in each state."""
        return await self.do(calls.counts(contract.Query(**query)))

    async def wait(self, number: int, timeout_s: float | None = None) -> contract.TaskDetail:
        """A task, when it is over (TimeoutError after ``timeout_s``)."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = await self.do(calls.detail(number, _TURN_S))
                if found.task.ended is not None:
                    return found

    async def output(self, number: int, name: str = "stdout", attempt: int = 0) -> str:
        """What a task wrote, as text."""
        return (await self.do(calls.output(number, name, attempt, 0))).decode(errors="replace")

    async def explain(self, number: int) -> str:
        """Why it waits, or why it ended."""
        return (await self.do(calls.explain(number)))["why"]

    async def cancel(self, *numbers: int, **query: Any) -> int:
        """Cancel tasks; gives how many were not over yet."""
        return (await self.do(calls.cancel(contract.Query(ids=numbers, **query)))).count

    async def delete(self, *numbers: int, **query: Any) -> int:
        """Delete tasks that are over; gives how many."""
        return (await self.do(calls.delete(contract.Query(ids=numbers, **query)))).count

    async def rerun(self, number: int) -> contract.Submitted:
        """Submit the same once more."""
        return await self.do(calls.rerun(number))

    async def upload(self, source: Path | bytes) -> contract.Uploaded:
        """Upload a folder, or an archive, for tasks to have."""
        return await self.do(calls.upload(packed(source)))

    async def executors(self) -> list[contract.Executor]:
        """Every executor."""
        return await self.do(calls.executors())

    async def hubs(self) -> list[contract.HubSeen]:
        """Every hub of the same database."""
        return await self.do(calls.hubs())


def packed(source: Path | bytes) -> bytes:
    """A folder as an archive; an archive as it is."""
    if isinstance(source, bytes):
        return source
    return archive.pack(archive.of_folder(source)) if source.is_dir() else source.read_bytes()


def _follow(hub: Hub, number: int) -> Iterator[Piece]:
    """Server-sent events; where the connection breaks, it goes on from there."""
    told: dict[tuple[int, str], int] = {}
    attempt = 0
    retry = Retry(hub.place.urls, hub._budget_s, time.monotonic(), hub._first)  # of this module
    while True:
        url = f"{retry.url}{contract.API}/tasks/{number}/follow"
        try:
            with hub._http.stream("GET", url, headers=hub._headers, timeout=30.0) as answer:
                if not answer.is_success:
                    problem = calls.error_of(answer.status_code, answer.read())
                    if not calls.is_passing(answer.status_code):
                        raise problem
                    raise httpx2.TransportError(str(problem))
                kind = ""
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "data":
                        hub._first = retry.place
                        said = msgspec.json.decode(value)
                        retry = Retry(hub.place.urls, hub._budget_s, time.monotonic(), hub._first)
                        if kind == "output":
                            key = (attempt, said["stream"])
                            if said["position"] >= told.get(key, 0):
                                told[key] = said["next"]
                                yield Piece(said["stream"], said["text"])
                        elif kind == "state":
                            attempt = said["attempt"]
                            yield Piece("state", said["state"])
                        elif kind == "end":
                            return
        except httpx2.HTTPError as error:
            time.sleep(retry.failed(str(error) or type(error).__name__, time.monotonic()))
