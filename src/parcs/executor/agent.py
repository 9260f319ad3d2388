"""An executor's agent: performs what `machine` decides, over one WebSocket to a hub.

The connection may break at any time, and be made again to any hub: tasks go on, results are kept, and what a hub
says is no longer ours is ended. Only the hub decides who owns an attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from parcs import errors
from parcs.contract import executor as contract
from parcs.executor.archives import Archives
from parcs.executor.machine import Assigned, Key, Machine
from parcs.executor.slots import Said, SlotProcess
from parcs.model.task import TaskState
from parcs.sandbox import cgroup, means
from parcs.version import VERSION

logger = logging.getLogger("parcs.executor")

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_OPEN_S: Final = 4.0
_SILENT_S: Final = 4.0
"""A hub that does not answer a ping for so long stands still, or its machine is gone."""
_FETCH_S: Final = 120.0
_FETCH_AGAIN_S: Final = 0.5
_SLOT_AGAIN_S: Final = 1.0
_SPECS: Final = 20_000
_GATHER_S: Final = 0.03


class Agent:
    """One executor.

    Args:
        hubs: their addresses, as ``http://host:port``; any will do.
        token: the executor's.
        name: as people see it.
        root: where tasks have their folders; one of its own if there is none.
    """

    def __init__(
        self,
        hubs: Sequence[str],
        token: str,
        slots: int,
        *,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        self._hubs = itertools.cycle([hub.rstrip("/") for hub in hubs])
        self._token, self._labels = token, dict(labels or {})
        self._host = socket.gethostname()
        self.name = name or self._host
        self.id = secrets.token_hex(8)
        self.machine = Machine(slots)
        self._is_own_root = root is None
        self._root = root or Path(tempfile.mkdtemp(prefix="parcs-executor-"))
        self._root.mkdir(parents=True, exist_ok=True)
        if self._is_own_root:
            _sweep(self._root)
            self._root.chmod(0o711)  # tasks that run as nobody have to come to theirs
        (self._root / "tasks").mkdir(exist_ok=True)
        self._archives = Archives(self._root / "archives", token)
        self._slots: list[SlotProcess] = []
        self._specs: dict[int, contract.Spec] = {}
        self._connection: ClientConnection | None = None
        self._hub = ""
        self._outputs: list[contract.Progress | contract.Output] = []
        self._written: dict[Key, dict[str, bytearray]] = {}
        self._doubtful: set[Key] = set()
        self._is_to_send = asyncio.Event()
        self._is_acked = asyncio.Event()
        self._fetching: set[asyncio.Task[None]] = set()
        self._heartbeat_s = 5.0
        self.was_refused = ""

    async def run(self) -> None:
        """Run tasks until `drain` is done or this is cancelled.

        Raises:
            HubError: the hub refuses this executor for good.
        """
        found = await asyncio.to_thread(means.find)
        self._offer = contract.Offer(
            found.levels, self._labels, os.cpu_count() or 1, psutil.virtual_memory().total
        )
        self._slots = [
            SlotProcess(i, self._root / "tasks", self._on_said, self._on_slot_died)
            for i in range(self.machine.slots)
        ]
        try:
            await asyncio.gather(*(slot.start() for slot in self._slots))
            await self._stay_connected()
        finally:
            for task in self._fetching:
                task.cancel()
            await asyncio.gather(*(slot.stop() for slot in self._slots))
            await asyncio.to_thread(cgroup.sweep, os.getpid())
            shutil.rmtree(self._root if self._is_own_root else self._root / "tasks", ignore_errors=True)

    def drain(self) -> None:
        """Take nothing new; `run` returns when all is done and told."""
        self.machine.is_draining = True
        self._is_to_send.set()

    async def _stay_connected(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._is_done():
            hub = next(self._hubs)
            try:
                await self._session(hub)
                wait_s = _FIRST_WAIT_S
            except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as error:
                if getattr(getattr(error, "response", None), "status_code", 0) in (401, 403):
                    raise errors.NotLoggedInError(
                        f"{hub} does not know this executor's token, or it is revoked"
                    ) from None
                logger.warning("no hub at %s (%s); trying again", hub, error or type(error).__name__)
            except InvalidURI as error:
                raise errors.SettingsError(
                    f"{hub!r} is no hub's address; for example http://host:7000"
                ) from error
            self._on_break()
            if self.was_refused:
                raise errors.HubError(self.was_refused)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _on_break(self) -> None:
        """A connection is over: what was told on it may have come to nothing."""
        self._connection = None
        self._doubtful |= self._written.keys()
        self._outputs.clear()
        for result in self.machine.finished():
            self.machine.finish(self._whole(result))

    def _is_done(self) -> bool:
        return self.machine.is_draining and not self.machine.held()

    async def _session(self, hub: str) -> None:
        url = "ws" + hub.removeprefix("http") + contract.PATH
        headers = {"Authorization": f"Bearer {self._token}"}
        async with connect(
            url, additional_headers=headers, max_size=contract.LARGEST, open_timeout=_OPEN_S, compression=None,
            ping_interval=_SILENT_S / 2, ping_timeout=_SILENT_S, close_timeout=1.0,
        ) as connection:  # fmt: skip
            await self._greet(connection)
            self._hub, self._connection = hub, connection
            self._is_acked.set()
            self._is_to_send.set()
            work = [self._beat(connection), self._send(connection), self._receive(connection)]
            running = [asyncio.create_task(each) for each in work]
            try:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await connection.close()  # it leaves for good, and the code says so
                raise
            finally:
                for task in running:
                    task.cancel()
                ends = await asyncio.gather(*running, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    async def _greet(self, connection: ClientConnection) -> None:
        hello = contract.Hello(
            contract.PROTOCOL, VERSION, self.id, self.name, self._host, self.machine.slots, self._offer,
            self.machine.held(),
        )  # fmt: skip
        await connection.send(contract.encode(hello))
        answer = contract.decode_from_hub(await asyncio.wait_for(connection.recv(decode=False), _OPEN_S))
        if isinstance(answer, contract.Refused):
            self.was_refused = answer.why
            raise ConnectionResetError(answer.why)
        self.machine.seen = 0
        if not isinstance(answer, contract.Welcome):
            raise ConnectionResetError("the hub said something else than welcome")
        self._heartbeat_s = answer.heartbeat_s
        self._drop(answer.dropped)
        self.machine.on_ack(answer.dropped)
        self._forget(answer.dropped)

    async def _receive(self, connection: ClientConnection) -> None:
        async for data in connection:
            message = contract.decode_from_hub(data if isinstance(data, bytes) else data.encode())
            if isinstance(message, contract.Leases):
                self._learn(message.specs)
                self._assign(self.machine.on_leases(message.leases, time.monotonic()))
            elif isinstance(message, contract.Ack):
                self.machine.on_ack(message.attempts)
                self._forget(message.attempts)
                self._is_acked.set()
                if self._is_done():
                    return
            elif isinstance(message, contract.Cancel):
                for key in self.machine.waiting_among(message.attempts):
                    self.machine.finish(
                        contract.Result(*key, state=TaskState.CANCELLED, why="cancelled before it began")
                    )
                self._drop(message.attempts)
                self._is_to_send.set()
                if strange := sorted(set(message.attempts) - set(self.machine.held())):
                    await connection.send(contract.encode(contract.Returned(strange)))  # it never arrived
            elif isinstance(message, contract.Refused):
                self.was_refused = message.why
                return

    def _learn(self, specs: Mapping[int, contract.Spec]) -> None:
        """Keep the last that were told; a hub counts on fewer."""
        for number, spec in specs.items():
            self._specs.pop(number, None)
            self._specs[number] = spec
        while len(self._specs) > _SPECS:
            del self._specs[next(iter(self._specs))]

    async def _send(self, connection: ClientConnection) -> None:
        """Tell what is new. One message of results is under way at a time: so they gather while the hub commits."""
        while not self._is_done():
            await self._is_to_send.wait()
            self._is_to_send.clear()
            await self._send_outputs(connection)
            await self._is_acked.wait()
            if self.machine.is_ahead:
                await asyncio.sleep(_GATHER_S)  # a commit costs the hub the same, however many it is for
            results = self.machine.results()
            # Before their results, also what came while we waited: once a task is over, nothing is added to it.
            await self._send_outputs(connection)
            if results:
                self._is_acked.clear()
                self._is_to_send.set()  # what has gathered by then goes next
                await connection.send(
                    contract.encode(contract.Results(results, self.machine.more(), self.machine.seen))
                )
            else:
                await connection.send(contract.encode(contract.Ready(self.machine.more(), self.machine.seen)))
        await connection.close()

    async def _send_outputs(self, connection: ClientConnection) -> None:
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            await connection.send(contract.encode(output))

    async def _beat(self, connection: ClientConnection) -> None:
        last = 0.0
        while True:
            now = time.monotonic()
            if now - last >= self._heartbeat_s:
                last = now
                memory = psutil.virtual_memory()
                beat = contract.Beat(self.machine.busy, psutil.cpu_percent(), memory.total - memory.available)
                await connection.send(contract.encode(beat))
            if stale := self.machine.stale(now):
                await connection.send(contract.encode(contract.Returned(stale)))
            await asyncio.sleep(min(self._heartbeat_s, 0.25))

    def _on_said(self, slot: int, said: Said) -> None:
        if isinstance(said, contract.Result):
            is_doubtful = (said.task, said.attempt) in self._doubtful
            self._assign(self.machine.on_result(slot, self._whole(said) if is_doubtful else said))
        else:
            self._outputs.append(said)
            if isinstance(said, contract.Output):
                streams = self._written.setdefault((said.task, said.attempt), {})
                streams.setdefault(said.stream, bytearray()).extend(said.data)
        self._is_to_send.set()

    def _whole(self, result: contract.Result) -> contract.Result:
        """A result with all that its attempt wrote: a hub may have missed what was told before."""
        written = self._written.get((result.task, result.attempt), {})
        streams = {name: (0, bytes(data)) for name, data in written.items()}
        for name, (position, data) in result.streams.items():
            streams[name] = (0, bytes(written.get(name, b"")[:position]) + data)
        return msgspec.structs.replace(result, streams=streams)

    def _on_slot_died(self, slot: int) -> None:
        for key in self.machine.on_slot_lost(slot):
            self.machine.finish(
                contract.Result(*key, state=TaskState.FAILED, why="the executor's slot that ran it died")
            )
        logger.warning("slot %d died; another takes its place", slot)
        self._slots[slot] = SlotProcess(slot, self._root / "tasks", self._on_said, self._on_slot_died)
        self._keep(self._restart(slot))

    async def _restart(self, slot: int) -> None:
        while True:
            try:
                await self._slots[slot].start()
                break
            except OSError as error:
                logger.warning("slot %d cannot be started: %s; trying again", slot, error)
                await asyncio.sleep(_SLOT_AGAIN_S)
        self._assign(self.machine.on_leases([], time.monotonic()))
        self._is_to_send.set()

    def _assign(self, assigned: Sequence[Assigned]) -> None:
        for slot, lease in assigned:
            spec = self._specs[lease.spec]
            path = self._archives.known(spec.archive)
            if path is None:
                self._keep(self._fetch(slot, lease, spec))
            else:
                self._slots[slot].run(lease, spec, path)

    async def _fetch(self, slot: int, lease: contract.Lease, spec: contract.Spec) -> None:
        until = time.monotonic() + _FETCH_S
        while True:
            try:
                path = await self._archives.get(self._hub, spec.archive)
                break
            except (errors.HubUnavailableError, errors.ArchiveError, OSError) as error:
                if isinstance(error, errors.HubUnavailableError) and time.monotonic() < until:
                    await asyncio.sleep(_FETCH_AGAIN_S)  # by then this executor may be with another hub
                    continue
                result = contract.Result(
                    lease.task, lease.attempt, TaskState.FAILED, f"its files did not come: {error}"
                )
                self._on_said(slot, result)
                return
        if self.machine.is_in_slot(slot, (lease.task, lease.attempt)):
            self._slots[slot].run(lease, spec, path)

    def _forget(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._written.pop(key, None)
            self._doubtful.discard(key)

    def _drop(self, keys: Sequence[tuple[int, int]]) -> None:
        for slot, key in self.machine.on_dropped(keys):
            self._slots[slot].cancel(key)

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)


def _sweep(own: Path) -> None:
    """Say whose a folder is, and take away those of executors that were killed."""
    (own / "pid").write_text(str(os.getpid()))
    for file in own.parent.glob("parcs-executor-*/pid"):
        with contextlib.suppress(OSError, ValueError):
            if not Path(f"/proc/{int(file.read_text())}").exists():
                shutil.rmtree(file.parent, ignore_errors=True)
