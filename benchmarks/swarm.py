"""The Swarm engine on a lab of four nodes, beside the plain Docker SDK and bare sockets. Needs root.

``python -m benchmarks swarm``: cold and warm starts, channels, the relay; about five minutes.
``python -m benchmarks.swarm MEASURE``: hundreds, soak, silence (20 minutes), channels.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from benchmarks.report import Row, show
from parcs.dockerapi import networks, services, tasks
from parcs.dockerapi.client import Docker
from parcs.image.build import Builder
from parcs.lab import Lab, Plan
from parcs.model.settings import Settings
from parcs.module import manifest
from parcs.swarm import deploy, names
from parcs.swarm.remote import Remote

MODULE = Path(__file__).parent / "swarm_module"
NODES = 4
BETWEEN_WORKERS = ("channel", "relay")
"""Measured between two nodes that are not the engine server's own: as from any machine outside."""
ENGINE_STATE = """
import os
for pid in filter(str.isdecimal, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline").read().split(chr(0))
    if words[0].startswith("python") and "parcs.swarm" in words:
        memory = next(line for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")).split()[1]
        fds, threads = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task"))
        print(f"{fds} descriptors, {threads} threads, {int(memory) // 1024} MiB")
"""
BARE_RELAY_PORT = 7979
BARE_RELAY = f"""
import os, socket, threading
def pump(source, target):
    buffer = memoryview(bytearray(1 << 18))
    while count := source.recv_into(buffer):
        target.sendall(buffer[:count])
    target.shutdown(socket.SHUT_WR)
def serve(caller):
    words = b""
    while not words.endswith(b"\\n"):
        words += caller.recv(1)
    host, port = words.decode().split()
    point = socket.create_connection((host, int(port)))
    for sock in (caller, point):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=pump, args=(point, caller), daemon=True).start()
    pump(caller, point)
server = socket.create_server(("", {BARE_RELAY_PORT}))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""What a relay costs that only passes bytes on: no TLS, no token. It runs beside the engine server's own."""
END_BARE_RELAY = """
import os, signal
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if b"def pump" in open(f"/proc/{pid}/cmdline", "rb").read() and int(pid) != os.getpid():
        os.kill(int(pid), signal.SIGTERM)
"""
PLAIN_NETWORK = "plain"
"""The reference's own overlay network: ours is kept ready on every node, and would make it faster too."""


def tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


class Bench:
    """A lab with an engine server and the benchmarks' module on every node."""

    def __init__(self, lab: Lab) -> None:
        self.docker, self.lab = Docker(lab.url), lab
        self.access = deploy.up(self.docker, tell, lab.registry)
        self.image = Builder(self.docker, lab.registry, tell).module(manifest.load(MODULE)).pinned
        networks.ensure_overlay(self.docker, PLAIN_NETWORK)
        for node in lab.nodes:
            node.docker("pull", "--quiet", self.image)

    @contextmanager
    def bare_relay(self) -> Iterator[int]:
        """The floor of a relay, in the engine server's container, as long as this is open; gives its port."""
        engine = self.lab.nodes[0]
        container = engine.docker("ps", "--filter", f"name={names.ENGINE}", "--format", "{{.ID}}").strip()
        engine.docker("exec", "--detach", container, "python3", "-c", BARE_RELAY)
        try:
            yield BARE_RELAY_PORT
        finally:
            engine.docker("exec", container, "python3", "-c", END_BARE_RELAY)

    def run(self, measure: str, count: int = 1, **environment: str) -> Any:
        """One measurement inside the cluster: a job's result."""
        with Remote(self.access, Settings()) as remote:
            given = {"MEASURE": measure, "COUNT": str(count), "PARCS_QUIET": "1", **environment}
            where = {"constraints": ["node.role==worker"]} if measure in BETWEEN_WORKERS else {}
            job = str(remote.run(self.image, given, where)["job"])
            lines = [line.text for line in remote.lines(job, is_following=True)]
            about = remote.ps(job)
        if about["result"] is None:
            raise SystemExit(f"{measure}: {about['why']}\n" + "\n".join(lines[-30:]))
        self.wait_clean()
        return about["result"]

    def sdk(self, count: int) -> float:
        """The reference: seconds until ``count`` services, created at once with the Docker SDK, all run."""

        def create(client: docker.DockerClient) -> list[Any]:
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(lambda _: self._idle_service(client), range(count)))

        return self._until_all_run(create, count)

    def sdk_replicas(self, count: int) -> float:
        """As `sdk`, but one service of ``count`` replicas, without virtual addresses."""
        how = {
            "mode": docker.types.ServiceMode("replicated", count),
            "endpoint_spec": docker.types.EndpointSpec(mode="dnsrr"),
        }
        return self._until_all_run(lambda client: [self._idle_service(client, **how)], count)

    def _idle_service(self, client: docker.DockerClient, **how: Any) -> Any:
        return client.services.create(
            self.image, ["sleep", "3600"], networks=[PLAIN_NETWORK],
            restart_policy=docker.types.RestartPolicy(condition="none"), **how,
        )  # fmt: skip

    def _until_all_run(self, create: Callable[[docker.DockerClient], list[Any]], count: int) -> float:
        client = docker.DockerClient(self.lab.url, version="1.41", max_pool_size=count)
        begin = time.perf_counter()
        made = create(client)
        wanted = {service.id for service in made}
        while sum(t.state == "running" for t in tasks.find(self.docker) if t.service in wanted) < count:
            time.sleep(0.02 if count < 100 else 0.5)
        took = time.perf_counter() - begin
        for service in made:
            service.remove()
        client.close()
        self.wait_clean()
        return took

    def wait_clean(self) -> None:
        """Until no container of an earlier measurement is left."""
        ours = {s.id for s in services.find(self.docker, names.KIND) if names.JOB not in s.labels}
        while any(t.service not in ours for t in tasks.find(self.docker)):
            time.sleep(0.05)
        time.sleep(0.5)


@contextmanager
def bench() -> Iterator[Bench]:
    known = os.environ.get("PARCS_BENCH_LAB")
    lab = Lab.find(known) if known else Lab.up("bench", Plan(NODES), tell)
    try:
        yield Bench(lab)
    finally:
        if not known:
            lab.down()


def rows(*, quick: bool) -> list[Row]:
    rounds = 3 if quick else 5
    with bench() as b:
        return [*_cold(b, rounds), *_warm(b, rounds), *_channel(b), *_relay(b)]


def _cold(b: Bench, rounds: int) -> list[Row]:
    against = "Docker SDK, concurrent, all run"
    found = []
    for count, bound in ((3, "<= 1.2"), (9, "<= 1.2"), (16, "<= 1.2"), (64, "<= 1.3")):
        ours, theirs = [], []
        for _ in range(rounds if count < 64 else 2):
            theirs.append(b.sdk(count))
            ours.append(b.run("factor", count)["elapsed"])
            tell(f"{count} points: {ours[-1]:.2f} s, the SDK's {count} services {theirs[-1]:.2f} s")
        row = Row(
            f"factor, {count} points, cold", statistics.median(ours), statistics.median(theirs), "s", against
        )
        found.append(row._replace(bound=bound))
    return found


def _warm(b: Bench, rounds: int) -> list[Row]:
    took = [b.run("warm", 16)["elapsed"] * 1e3 for _ in range(rounds)]
    return [Row("16 warm points taken and answering", statistics.median(took), 100.0, "ms", "100 ms", "<= 1")]


def _channel(b: Bench) -> list[Row]:
    got = b.run("channel")
    bare = "bare sockets, same containers"
    return [
        Row("round trip between two nodes", got["trip"] * 1e6, got["bare_trip"] * 1e6, "us", bare, "<= 1.3"),
        Row(
            "throughput between two nodes", got["rate"] / 1e6, got["bare_rate"] / 1e6, "MB/s", bare, ">= 0.85"
        ),
    ]


def _relay(b: Bench) -> list[Row]:
    """The same two containers, but the channel goes out to the node's port and back through the relay."""
    with b.bare_relay() as port:
        got = b.run(
            "relay",
            ADDRESS=str(b.access.address),
            FINGERPRINT=b.access.fingerprint,
            TOKEN=b.access.token.decode(),
            BARE_RELAY_PORT=str(port),
        )
    bare, relay = "bare sockets, same containers", "bare sockets through a bare relay"
    return [
        Row("round trip through the relay", got["trip"] * 1e6, got["relay_trip"] * 1e6, "us", relay),
        Row("throughput through the relay", got["rate"] / 1e6, got["relay_rate"] / 1e6, "MB/s", relay),
        Row("round trip through the relay", got["trip"] * 1e6, got["bare_trip"] * 1e6, "us", bare, "<= 2"),
        Row(
            "throughput through the relay", got["rate"] / 1e6, got["bare_rate"] / 1e6, "MB/s", bare, ">= 0.5"
        ),
    ]


def hundreds(b: Bench) -> None:
    """400 points in one call, in steps of 100, beside one service of as many idle replicas."""
    for count in (100, 200, 300, 400):
        # Four machines share two processors here: hundreds of starts hold acknowledgements up for seconds.
        patient = {"PARCS_START_TIMEOUT": "600", "PARCS_HOST_SILENCE": "60"}
        theirs = b.sdk_replicas(count) / count * 1e3
        ours = b.run("factor", count, N="1000", **patient)["elapsed"] / count * 1e3
        print(
            f"{count} points: {ours:.0f} ms a point, {theirs:.0f} ms an idle replica: {ours / theirs:.2f} x",
            flush=True,
        )


def soak(b: Bench) -> None:
    """500 points one after another: what is left?"""

    def state() -> dict[str, Any]:
        engine = b.lab.nodes[0]
        container = engine.docker("ps", "--filter", f"name={names.ENGINE}", "--format", "{{.ID}}").strip()
        return {
            "services": len(services.find(b.docker, names.JOB)),
            "tasks": len(tasks.find(b.docker, names.JOB)),
            "containers": sum(len(n.docker("ps", "-aq").split()) for n in b.lab.nodes),
            "engine": engine.docker("exec", container, "python3", "-c", ENGINE_STATE).strip(),
        }

    b.run("one_after_another", 20)
    print("before", state(), flush=True)
    print(b.run("one_after_another", 500), flush=True)
    print("after", state(), flush=True)


def silence(b: Bench) -> None:
    """A channel silent for twenty minutes."""
    print(b.run("silent", 20), flush=True)


def channels(b: Bench) -> None:
    """Only the channels: directly, and through the relay."""
    show([*_channel(b), *_relay(b)], as_json=False)


LONG: dict[str, Callable[[Bench], None]] = {f.__name__: f for f in (hundreds, soak, silence, channels)}

if __name__ == "__main__":
    with bench() as opened:
        for name in sys.argv[1:]:
            LONG[name](opened)
