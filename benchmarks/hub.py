"""The hub: durable tasks beside HyperQueue, xargs and the bare subprocess; and how it is with a million tasks.

``python -m benchmarks hub``: about four minutes; ``--quick``: one.
``python -m benchmarks.hub MEASURE``: the long ones: million (tasks in the database), executors (2,000, simulated),
hubs (three beside one).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.report import Row
from parcs.client import Hub
from parcs.client.place import read
from parcs.contract import executor as wire
from parcs.contract import tasks as contract

TRUE = "/bin/true"
_SLOTS = 2
_START_S = 20.0
_EXECUTORS = 2000
_MILLION = 1_000_000


def tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


class Place:
    """A hub of its own, in a folder of its own."""

    def __init__(self, database: str, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PARCS_HOME": str(folder), "PARCS_HUB_REQUESTS_PER_S": "0"}
        self._environment = environment
        self._processes: list[subprocess.Popen[bytes]] = []
        self.process = self._start("hub", "--database", database, "--port", "0")
        deadline = time.monotonic() + _START_S
        while not (folder / "executor.token").exists() or "hub: " not in self.log():
            if time.monotonic() > deadline:
                raise SystemExit(f"the hub does not start: {self.log()}")
            time.sleep(0.05)
        place = read(folder / "hub.json")
        assert place is not None
        self.url, self.token = place.urls[0], place.token
        self.executor_token = (folder / "executor.token").read_text()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "parcs", *words], env=self._environment, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def hub(self) -> Hub:
        return Hub(self.url, self.token)

    def executor(self, slots: int) -> None:
        token = str(self.folder / "executor.token")
        self._start("executor", "--hub", self.url, "--token-file", token, "--slots", str(slots))
        with self.hub() as hub:
            while not any(e.state == "active" for e in hub.executors()):
                time.sleep(0.05)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGINT)
            process.wait(20)


@contextmanager
def place(database: str = "sqlite") -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="parcs-bench-"))
    made = Place(database, folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@contextmanager
def postgresql() -> Iterator[str]:
    """A server of its own, as it is set up by default: every commit is on the disk before it is answered."""
    from tests.hub.conftest import PostgreSQL

    folder = Path(tempfile.mkdtemp(prefix="parcs-bench-"))
    server = PostgreSQL(folder / "server")
    server.start()
    try:
        yield server.database()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def rows(*, quick: bool) -> list[Row]:
    count = 5000 if quick else 20_000
    found = []
    with place() as ours:
        ours.executor(_SLOTS)
        with ours.hub() as hub:
            _throughput(hub, count // 4)
            rounds = [
                (_throughput(hub, count), _hyperqueue(count // 2), _xargs(count // 2))
                for _ in range(1 if quick else 2)
            ]
            rate, queue, xargs = (statistics.median(column) for column in zip(*rounds, strict=True))
            found.append(
                Row(f"{count} {TRUE}, 2 slots, SQLite", rate, queue, "tasks/s", "HyperQueue", ">= 2")
            )
            found.append(
                Row(f"{count} {TRUE}, 2 slots, SQLite", rate, xargs, "tasks/s", "xargs -P2", ">= 0.5")
            )
            time.sleep(2)
            found.append(_latency(hub))
    with place() as ours, ours.hub() as hub:
        found.append(_bulk(hub))
    with postgresql() as url, place(url) as ours:
        ours.executor(_SLOTS)
        with ours.hub() as hub:
            _throughput(hub, count // 4)
            found.append(
                Row(
                    f"{count} {TRUE}, PostgreSQL",
                    _throughput(hub, count),
                    rate,
                    "tasks/s",
                    "SQLite",
                    ">= 0.8",
                )
            )
    return found


def _throughput(hub: Hub, count: int) -> float:
    """Tasks a second, from the submission until all results are committed."""
    begin = time.perf_counter()
    first = hub.submit([TRUE], array=[{"i": str(i)} for i in range(count)]).first
    while hub.wait_some(contract.Query(array=first), 30)["succeeded"] < count:
        pass
    took = time.perf_counter() - begin
    tell(f"{count} tasks in {took:.1f} s: {count / took:.0f} a second")
    return count / took


def _hyperqueue(count: int) -> float:
    """The same, with HyperQueue's local cluster; it keeps nothing on a disk."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=_SLOTS))
        client = cluster.client()
        job = Job()
        for _ in range(count):
            job.program([TRUE], stdout=None, stderr=None)
        begin = time.perf_counter()
        submitted = client.submit(job)
        client.wait_for_jobs([submitted])
        took = time.perf_counter() - begin
    tell(f"HyperQueue: {count / took:.0f} a second")
    return count / took


def _xargs(count: int) -> float:
    begin = time.perf_counter()
    given = "\n".join(map(str, range(count)))
    subprocess.run(["xargs", f"-P{_SLOTS}", "-n1", TRUE], input=given, text=True, check=True)
    took = time.perf_counter() - begin
    tell(f"xargs: {count / took:.0f} a second")
    return count / took


def _latency(hub: Hub, rounds: int = 60) -> Row:
    """One task on an idle hub, from the request to its committed result in our hands."""
    ours, bare = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        hub.run([TRUE])
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        subprocess.run([TRUE], check=True)
        bare.append(time.perf_counter() - begin)
        time.sleep(0.01)
    over = (statistics.median(ours) - statistics.median(bare)) * 1e3
    return Row("submit to result, idle, over the bare subprocess", over, 15.0, "ms", "15 ms", "<= 1")


def _bulk(hub: Hub) -> Row:
    requests = [
        contract.TaskRequest([TRUE, str(i % 10)], name=f"n{i % 100}", labels={"k": "v"})
        for i in range(100_000)
    ]
    begin = time.perf_counter()
    hub.submit_all(requests)
    rate = len(requests) / (time.perf_counter() - begin)
    return Row("bulk submission of 100,000 tasks", rate, 20_000.0, "tasks/s", "20,000 a second", ">= 1")


def percentiles(name: str, work: Callable[[int], object], rounds: int = 200) -> None:
    took = []
    for i in range(rounds):
        begin = time.perf_counter()
        work(i)
        took.append((time.perf_counter() - begin) * 1e3)
    took.sort()
    print(f"{name}: p50 {took[rounds // 2]:.1f} ms, p99 {took[rounds * 99 // 100]:.1f} ms", flush=True)


_CLIENTS = 6
_EACH_S = 15.0


def hubs() -> None:
    """Three hubs beside one, on one PostgreSQL: how many requests a second all clients together get answered."""
    rates: dict[int, float] = {}
    with postgresql() as url, ExitStack() as up:
        places: list[Place] = []
        for count in (1, 3):
            while len(places) < count:
                places.append(up.enter_context(place(url)))
            rates[count] = _requests(places)
            print(f"{count} hubs: {rates[count]:.0f} requests/s", flush=True)
    print(
        f"three to one: {rates[3] / rates[1]:.2f}; {os.cpu_count()} processors have hubs, database and clients"
    )


def _requests(places: list[Place]) -> float:
    """Submissions and looks, half and half, by clients that are processes of their own."""
    script = (
        "import sys, time\n"
        "from parcs.client import Hub\n"
        "count, until = 0, time.monotonic() + float(sys.argv[3])\n"
        "with Hub(sys.argv[1], sys.argv[2]) as hub:\n"
        "    while time.monotonic() < until:\n"
        "        hub.task(hub.submit('true').first)\n"
        "        count += 2\n"
        "print(count)\n"
    )
    clients = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                script,
                places[i % len(places)].url,
                places[i % len(places)].token,
                str(_EACH_S),
            ],
            stdout=subprocess.PIPE,
        )
        for i in range(_CLIENTS)
    ]
    return sum(int(client.communicate()[0]) for client in clients) / _EACH_S


def million() -> None:
    """A million tasks in the database: what lists, searches, submissions and leases cost."""
    with place() as ours, ours.hub() as hub:
        begin = time.perf_counter()
        for i in range(10):
            rows = [{"i": str(j)} for j in range(_MILLION // 10)]
            labels = {"set": str(i), "rare": "yes" if i == 3 else "no"}
            hub.submit([TRUE], array=rows, labels=labels, where={} if i == 9 else {"no": "such"})
        print(f"a million tasks in {time.perf_counter() - begin:.0f} s", flush=True)
        hub.submit_all([contract.TaskRequest("false", labels={"needle": str(i)}) for i in range(100)])
        percentiles("list", lambda _: hub.page(contract.Query()))
        percentiles(
            "list, 10th page", lambda i: hub.page(contract.Query(), cursor=str(_MILLION - 500 * (i % 100)))
        )
        percentiles("by state", lambda _: hub.page(contract.Query(states=["queued"])))
        percentiles("by state that none has", lambda _: hub.page(contract.Query(states=["failed"])))
        percentiles("by common label", lambda i: hub.page(contract.Query(labels={"set": str(i % 10)})))
        percentiles("by rare label", lambda i: hub.page(contract.Query(labels={"needle": str(i % 100)})))
        percentiles(
            "by state and label",
            lambda i: hub.page(contract.Query(states=["queued"], labels={"set": str(i % 10)})),
        )
        common = {"rare": "no"}
        percentiles(
            "by rare state and common label",
            lambda _: hub.page(contract.Query(states=["failed"], labels=common)),
        )
        percentiles("submit", lambda _: hub.submit("true"))
        asyncio.run(_leases(ours))
        memory = psutil.Process(ours.process.pid).memory_info().rss
        print(f"the hub has {memory >> 20} MiB", flush=True)


async def _leases(ours: Place) -> None:
    """An executor that says it has done at once what it is given."""
    took = []
    async with _connection(ours, 0) as socket:
        await socket.send(wire.encode(wire.Ready(10)))
        for _ in range(200):
            leases = await _until(socket, wire.Leases)
            results = [wire.Result(lease.task, lease.attempt, "succeeded", "") for lease in leases.leases]
            begin = time.perf_counter()
            await socket.send(wire.encode(wire.Results(results, 10)))
            await _until(socket, wire.Ack)
            took.append((time.perf_counter() - begin) * 1e3)
    took.sort()
    print(f"10 results and 10 leases: p50 {took[100]:.1f} ms, p99 {took[198]:.1f} ms", flush=True)


def _connection(ours: Place, number: int):  # type: ignore[no-untyped-def]
    from contextlib import asynccontextmanager

    from websockets.asyncio.client import connect

    @asynccontextmanager
    async def made():  # type: ignore[no-untyped-def]
        url = "ws" + ours.url.removeprefix("http") + wire.PATH
        headers = {"Authorization": f"Bearer {ours.executor_token}"}
        async with connect(
            url, additional_headers=headers, compression=None, max_size=None, open_timeout=60
        ) as socket:
            offer = wire.Offer(["process"], {}, 1, 1 << 30)
            hello = wire.Hello(wire.PROTOCOL, "bench", f"bench{number}", f"b{number}", "h", 1, offer, [])
            await socket.send(wire.encode(hello))
            await _until(socket, wire.Welcome)
            yield socket

    return made()


async def _until(socket, kind):  # type: ignore[no-untyped-def]
    while True:
        message = wire.decode_from_hub(await socket.recv(decode=False))
        if isinstance(message, kind):
            return message


def executors() -> None:
    """2,000 executors on one hub: each beats, and runs tasks of half a minute; how late is what it is told?"""
    with place() as ours, ours.hub() as hub:
        asyncio.run(_many(ours, hub))


async def _many(ours: Place, hub: Hub) -> None:
    process = psutil.Process(ours.process.pid)
    waits: list[float] = []
    is_over = asyncio.Event()
    ready = asyncio.Semaphore(0)
    done = 0

    async def executor(number: int) -> None:
        nonlocal done
        async with _connection(ours, number) as socket:
            ready.release()
            await socket.send(wire.encode(wire.Ready(1)))

            async def beat() -> None:
                while True:
                    await asyncio.sleep(3.0)
                    await socket.send(wire.encode(wire.Beat(1, 50.0, 1 << 30)))

            beating = asyncio.create_task(beat())
            try:
                while not is_over.is_set():
                    leases = await _until(socket, wire.Leases)
                    await asyncio.sleep(30.0 * (0.5 + number % 100 / 100))
                    results = [
                        wire.Result(lease.task, lease.attempt, "succeeded", "") for lease in leases.leases
                    ]
                    begin = time.perf_counter()
                    await socket.send(wire.encode(wire.Results(results, 1)))
                    await _until(socket, wire.Ack)
                    waits.append(time.perf_counter() - begin)
                    done += len(results)
            finally:
                beating.cancel()

    tasks = []
    for number in range(_EXECUTORS):
        tasks.append(asyncio.create_task(executor(number)))
        if number % 50 == 49:
            for _ in range(50):
                await ready.acquire()
    print(f"{_EXECUTORS} executors are connected", flush=True)
    rows = [{"i": str(i)} for i in range(20_000)]
    await asyncio.to_thread(lambda: hub.submit([TRUE], array=rows))
    await asyncio.sleep(20)
    before, begin, first = process.cpu_times(), time.perf_counter(), done
    waits.clear()
    await asyncio.sleep(60)
    after, took = process.cpu_times(), time.perf_counter() - begin
    cpu = (after.user + after.system - before.user - before.system) / took
    ordered = sorted(waits)
    print(
        f"{(done - first) / took:.0f} results a second, and as many leases; "
        f"p50 {ordered[len(ordered) // 2] * 1e3:.0f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.0f} ms; "
        f"the hub takes {cpu:.0%} of a core, {process.memory_info().rss >> 20} MiB",
        flush=True,
    )
    lost = sum(e.state == "gone" for e in await asyncio.to_thread(hub.executors))
    print(f"executors that were taken for gone: {lost}", flush=True)
    if lost:
        print("\n".join([line for line in ours.log().splitlines() if "is connected" not in line][-10:]))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    {"million": million, "executors": executors, "hubs": hubs}[sys.argv[1]]()
