"""Past this machine: ten thousand executors, ten million tasks, several hubs, in virtual time.

    python -m benchmarks.simulation [--executors 10000] [--tasks 10000000] [--hubs 3]

The code that decides is the real one: `hub.services.dispatch` with its loops, `hub.store` with its statements (on
SQLite), `executor.machine` in every executor. What is modelled is what takes time:

- a hub's processor does one thing at a time: so much for a message, and so much for each task in it;
- the database has a few processors: so much for a statement, and so much for a commit, which waits for a standby;
- a message takes a while; a task takes a while, log-normal, and one in a hundred ten times as long;
- executors die for good and others come; their links break for seconds to minutes.

The first two are what a hub and a PostgreSQL took in `python -m benchmarks hub` on a machine of two processors.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import itertools
import math
import random
import signal
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from benchmarks.virtual import VirtualLoop
from parcs.contract import executor as wire
from parcs.contract import tasks as contract
from parcs.executor.machine import Assigned, Machine
from parcs.hub.services import checks, dispatch, liveness
from parcs.hub.services.changes import Changes, News
from parcs.hub.settings import HubSettings
from parcs.hub.store import migrate, schema, specs, tasks
from parcs.hub.store.database import Work

_WAVE: Final = 20_000
_EPOCH: Final = 1.7e9


@dataclass(frozen=True)
class Model:
    """What takes how long. Times are seconds."""

    message_s: float = 0.0004
    """Of a hub's processor, for a message of an executor."""
    task_s: float = 0.00012
    """Of a hub's processor, for each result or lease in it."""
    statement_s: float = 0.00015
    """Of a database's processor."""
    row_s: float = 0.00002
    commit_s: float = 0.0012
    """Until the standby has confirmed it; no processor is busy meanwhile."""
    database_processors: int = 8
    connections: int = 12
    """Of one hub."""
    link_s: float = 0.005
    mean_task_s: float = 10.0
    spread: float = 0.8
    """Of the logarithm of a task's time."""
    straggler: float = 0.01
    slower: float = 10.0
    life_s: float = 24 * 3600.0
    """Of an executor, on the average."""
    link_life_s: float = 3600.0
    break_s: float = 20.0


class Processors:
    """Some processors, and a queue before them."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self.busy_s = 0.0

    async def use(self, seconds: float) -> None:
        """Be served."""
        loop = asyncio.get_running_loop()
        begin = max(loop.time(), heapq.heappop(self._free))
        heapq.heappush(self._free, begin + seconds)
        self.busy_s += seconds
        await asyncio.sleep(begin + seconds - loop.time())


class Store:
    """The database all hubs share: SQLite, and the time that a PostgreSQL would take.

    In a file, not in memory: after most commits SQLite looks through all the pages that it has in memory.
    """

    def __init__(self, model: Model, folder: str) -> None:
        self.model = model
        self.engine = sa.create_engine(f"sqlite:///{folder}/simulation.sqlite", poolclass=sa.StaticPool)

        @sa.event.listens_for(self.engine, "connect")
        def prepare(connection: Any, _: object) -> None:
            connection.isolation_level = None
            for pragma in (
                "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-16000"
            ):  # fmt: skip
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(self.engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")  # else every row were a transaction

        migrate.upgrade(self.engine)
        self.connection = self.engine.connect()
        self.statements = self.rows = self.commits = 0
        sa.event.listen(self.engine, "before_cursor_execute", self._count)
        self.processors = Processors(model.database_processors)

    def _count(self, _c: Any, _cursor: Any, _s: str, parameters: Any, _context: Any, is_many: bool) -> None:
        self.statements += 1
        self.rows += len(parameters) if is_many else 1


class HubsDatabase:
    """What `Dispatch` has for a database: one hub's connections to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connections = asyncio.Semaphore(store.model.connections)

    async def write(self, work: Work[Any]) -> Any:
        return await self._run(work, self._store.model.commit_s)

    async def glance(self, work: Work[Any]) -> Any:
        return await self._run(work, 0.0)

    read = write

    async def _run(self, work: Work[Any], commit_s: float) -> Any:
        store, model = self._store, self._store.model
        async with self._connections:
            before = store.statements, store.rows
            answer = work(store.connection)
            store.connection.commit()
            store.commits += commit_s > 0
            statements, rows = store.statements - before[0], store.rows - before[1]
            await store.processors.use(statements * model.statement_s + rows * model.row_s)
            await asyncio.sleep(commit_s)
            return answer


class SimulatedHub:
    """One hub: its real dispatcher, and a processor."""

    def __init__(self, store: Store, settings: HubSettings, clock: Callable[[], float]) -> None:
        self.processor = Processors(1)
        self._model = store.model
        self.changes = Changes()
        database: Any = HubsDatabase(store)
        self.dispatch = dispatch.Dispatch(database, self.changes, settings, clock)
        self.liveness = liveness.Liveness(database, self.dispatch, self.changes, settings, clock)
        self.loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Its loops run."""

        async def reap() -> None:
            while True:
                await self.liveness.reap()
                await asyncio.sleep(1.0)

        for loop in (self.dispatch.serve(), self.liveness.keep_beats(), reap()):
            self.loops.append(asyncio.create_task(loop))

    async def take(self, session: dispatch.Session, message: wire.ToHub) -> None:
        """A message of an executor arrives."""
        count = len(message.results) if isinstance(message, wire.Results) else 0
        if not isinstance(message, wire.Beat):
            await self.processor.use(self._model.message_s + count * self._model.task_s)
        await self.dispatch.take(session, message)


class SimulatedExecutor:
    """One executor: its real machine, and tasks that only take time."""

    _numbers = itertools.count()

    def __init__(self, world: World, slots: int) -> None:
        self._world = world
        self.name = f"e{next(self._numbers)}"
        self.machine = Machine(slots)
        self._session: dispatch.Session | None = None
        self._is_telling = False
        self._told = -1
        self.is_dead = False

    async def connect(self) -> None:
        """Come to some hub, or come back."""
        world = self._world
        if self.is_dead:
            return
        self._hub = world.chance.choice(world.hubs)
        offer = wire.Offer(["process"], {}, 4, 8 << 30)
        hello = wire.Hello(
            wire.PROTOCOL, "sim", self.name, self.name, "host", self.machine.slots, offer, self.machine.held()
        )
        number = self._connection = object()

        def send(message: wire.FromHub) -> None:
            world.loop.call_later(world.model.link_s, self._on_message, number, message)

        await self._hub.processor.use(world.model.message_s)
        self._session = await self._hub.dispatch.open(hello, 1, send)
        self._is_telling, self._told, self.machine.seen = False, -1, 0
        self._tell()
        self._beat(number)
        world.loop.call_later(world.chance.expovariate(1 / world.model.link_life_s), self._break, number)

    def _break(self, number: object) -> None:
        """The link is gone for a while; what is on it is lost."""
        if self._session is None or number is not self._connection:
            return
        session, self._session, self._connection = self._session, None, object()
        self._world.do(self._hub.dispatch.close(session, is_leaving=False))
        if not self.is_dead:
            away_s = self._world.chance.expovariate(1 / self._world.model.break_s)
            self._world.loop.call_later(away_s, lambda: self._world.do(self.connect()))

    def die(self) -> None:
        """For good; another comes in its place."""
        self.is_dead = True
        self._break(self._connection)

    def _on_message(self, number: object, message: wire.FromHub) -> None:
        if number is not self._connection or self.is_dead:
            return
        if isinstance(message, wire.Leases):
            assigned = self.machine.on_leases(message.leases, self._world.loop.time())
            self._start(assigned)
            if len(assigned) < len(message.leases):
                self._world.loop.call_later(0.6, self._give_back, number)
        elif isinstance(message, wire.Ack):
            self.machine.on_ack(message.attempts)
            self._is_telling = False
            self._tell()
        elif isinstance(message, wire.Welcome):
            self.machine.on_dropped(message.dropped)
            self.machine.on_ack(message.dropped)

    def _start(self, assigned: list[Assigned]) -> None:
        for slot, lease in assigned:
            seconds = self._world.task_s()
            self._world.loop.call_later(seconds, self._finish, slot, lease, seconds)

    def _finish(self, slot: int, lease: wire.Lease, seconds: float) -> None:
        if not self.is_dead:
            self._world.executions += 1
            result = wire.Result(lease.task, lease.attempt, "succeeded", "", took_s=seconds)
            self._start(self.machine.on_result(slot, result))
            self._tell()

    def _give_back(self, number: object) -> None:
        if number is self._connection and (stale := self.machine.stale(self._world.loop.time())):
            self._say(wire.Returned(stale))

    def _tell(self) -> None:
        """As the agent does: one message of results is under way at a time."""
        if self._session is None or self._is_telling:
            return
        if results := self.machine.results():
            self._is_telling = True
            self._say(wire.Results(results, self.machine.more(), self.machine.seen))
        elif self.machine.more() != self._told:
            self._say(wire.Ready(self.machine.more(), self.machine.seen))
        self._told = self.machine.more()

    def _beat(self, number: object) -> None:
        if number is self._connection and not self.is_dead:
            self._say(wire.Beat(self.machine.busy, 50.0, 1 << 30))
            self._world.loop.call_later(self._world.settings.heartbeat_s, self._beat, number)

    def _say(self, message: wire.ToHub) -> None:
        session = self._session
        if session is not None:
            hub = self._hub
            self._world.loop.call_later(
                self._world.model.link_s, lambda: self._world.do(hub.take(session, message))
            )


class Usage(NamedTuple):
    """What was done in how long; seconds of the busiest hub's processor and of the database's."""

    virtual_s: float
    done: int
    hub_s: float
    database_s: float


class World:
    """All of it."""

    def __init__(self, loop: VirtualLoop, model: Model, options: argparse.Namespace, folder: str) -> None:
        self.loop, self.model, self.options = loop, model, options
        self.chance = random.Random(options.seed)
        self.settings = HubSettings("sqlite://", lease_s=60.0, heartbeat_s=15.0)
        self.store = Store(model, folder)
        self.hubs = [
            SimulatedHub(self.store, self.settings, lambda: _EPOCH + loop.time()) for _ in range(options.hubs)
        ]
        self.executions = self.submitted = self.done = self.deaths = 0
        self.full: Usage | None = None
        """While there was work for every slot; what comes after it are the stragglers."""
        self.is_ended = False
        self._doing: set[asyncio.Task[None]] = set()
        self._mu = math.log(model.mean_task_s) - model.spread**2 / 2

    def task_s(self) -> float:
        """How long a task takes."""
        seconds = self.chance.lognormvariate(self._mu, self.model.spread)
        return seconds * self.model.slower if self.chance.random() < self.model.straggler else seconds

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something go on by itself."""
        task = self.loop.create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def run(self) -> None:
        """Until every task is over."""
        with self.store.connection.begin():
            body = checks.demand_of(contract.TaskRequest("true"))
            self.demand = specs.demand_id(self.store.connection, body)
            spec = wire.Spec(**_SPEC)
            self.spec = specs.spec_ids(
                self.store.connection, {"d": (dispatch.msgspec.msgpack.encode(spec), "")}
            )["d"]
        for hub in self.hubs:
            await hub.dispatch.know([body])
            hub.changes.outlet = self._on_news
            hub.start()
        for _ in range(self.options.executors):
            self._add_executor(self.chance.uniform(0, 30))
        begun = time.monotonic()
        total = self.options.tasks
        while True:
            if self.done >= total or self.is_ended:
                break
            ready = self._ready()
            while self.submitted < total and ready < 5 * _WAVE:
                self._submit(min(_WAVE, total - self.submitted))
                ready += _WAVE
            for hub in self.hubs:
                hub.dispatch.wake()
            if self.full is None and self.submitted == total and not ready:
                self.full = self.usage()
            print(
                f"\r{self.loop.time():7.0f} s virtual, {time.monotonic() - begun:5.0f} s real: "
                f"{self.done} of {total}   ",
                end="", file=sys.stderr, flush=True,
            )  # fmt: skip
            await asyncio.sleep(5)
        print(file=sys.stderr)

    def end(self) -> None:
        """Before everything is done."""
        self.is_ended = True

    def usage(self) -> Usage:
        """Of everything, until now."""
        hub = max(hub.processor.busy_s for hub in self.hubs)
        return Usage(self.loop.time(), self.done, hub, self.store.processors.busy_s)

    def _add_executor(self, in_s: float) -> None:
        executor = SimulatedExecutor(self, self.options.slots)

        def die() -> None:
            self.deaths += 1
            executor.die()
            self._add_executor(60.0)

        self.loop.call_later(in_s, lambda: self.do(executor.connect()))
        self.loop.call_later(in_s + self.chance.expovariate(1 / self.model.life_s), die)

    def _submit(self, count: int) -> None:
        request = contract.TaskRequest("true")
        new = [tasks.NewTask(self.spec, self.demand, "u", request, "true", None, {})] * count
        tasks.add(self.store.connection, new, _EPOCH + self.loop.time())
        self.store.connection.commit()
        self.submitted += count

    def _ready(self) -> int:
        question = sa.select(sa.func.count()).select_from(schema.tasks).where(schema.is_ready)
        return int(self.store.connection.scalar(question) or 0)

    def _on_news(self, news: Sequence[News]) -> None:
        self.done += sum(each.state == "succeeded" for each in news)


_SPEC: Final[dict[str, Any]] = {
    "command": wire.Step(["true"], 0.0), "compile": None, "stdin": "", "archive": "", "environment": {},
    "outputs": [], "level": "process", "image": "", "cpu_s": 0.0, "memory": 0, "processes": 64, "output": 1 << 20,
    "files": 1 << 20, "network": None, "expected": None, "is_array": False,
}  # fmt: skip


def report(world: World, took_s: float) -> None:
    """What came of it, and where the first limit lies."""
    store, options, model = world.store, world.options, world.model
    virtual, done = world.loop.time(), world.done
    connection, table, attempts = store.connection, schema.tasks, schema.attempts
    is_over = table.c.ended.is_not(None)
    waited = sa.select(table.c.started - table.c.created).where(table.c.id % 97 == 0, is_over)
    waits = list(connection.scalars(waited))
    again = int(connection.scalar(sa.select(sa.func.count()).where(attempts.c.number > 1)) or 0)
    wanted = (
        options.executors * options.slots / (model.mean_task_s * (1 + model.straggler * (model.slower - 1)))
    )
    full = world.full or world.usage()
    hub = full.hub_s / full.virtual_s
    database = full.database_s / full.virtual_s / model.database_processors
    quantiles = statistics.quantiles(waits, n=100)
    rows = [
        ("tasks, hubs", f"{done:,}, {options.hubs}"),
        ("executors, slots of each", f"{options.executors:,}, {options.slots}"),
        ("virtual and real time", f"{virtual:,.0f} s, {took_s:,.0f} s"),
        ("until the queue was empty", f"{full.done:,} tasks in {full.virtual_s:,.0f} s"),
        ("tasks a second until then", f"{full.done / full.virtual_s:,.0f} (the slots could do {wanted:,.0f})"),
        ("queue wait, p50 and p99", f"{quantiles[49]:.1f} s, {quantiles[98]:.1f} s (the queue is never empty)"),
        ("attempts beyond the first", f"{again:,} ({again / done:.4%})"),
        ("executions whose result was refused", f"{world.executions - done:,}"),
        ("executors that died", f"{world.deaths:,}"),
        ("statements, rows and commits a task",
         f"{store.statements / done:.2f}, {store.rows / done:.2f}, "
         f"{store.commits / done:.3f}"),
        ("busiest hub's processor", f"{hub:.0%}"),
        ("database's processors", f"{database:.0%} of {model.database_processors}"),
    ]  # fmt: skip
    for name, value in rows:
        print(f"{name:38} {value}")
    limits = {"a hub's processor": hub, "the database's processors": database}
    first = max(limits, key=lambda name: limits[name])
    print(f"{'the first limit':38} {first if limits[first] > 0.8 else 'the slots themselves'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--executors", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=10_000_000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--hubs", type=int, default=3)
    parser.add_argument("--mean", type=float, default=10.0, metavar="SECONDS", help="of a task")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    loop = VirtualLoop()
    # What these two take for steady time is virtual too.
    dispatch.time = liveness.time = types.SimpleNamespace(monotonic=loop.time)  # type: ignore[assignment]
    asyncio.set_event_loop(loop)
    gc.set_threshold(100_000, 20, 100)  # nearly all that there is stays: to look through it is in vain
    with tempfile.TemporaryDirectory() as folder:
        world = World(loop, Model(mean_task_s=options.mean), options, folder)
        begun = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: world.end())  # then it is told of what was done until now
        loop.run_until_complete(world.run())
        report(world, time.monotonic() - begun)


if __name__ == "__main__":
    main()
