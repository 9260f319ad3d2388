"""The Go SDK beside bare Go sockets, the bare program, and crossed with Python."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.channel import MESSAGE
from benchmarks.report import Row, interleaved, percentile
from parcs.channel import Endpoint
from parcs.engine.client import EngineClient
from parcs.engine.console import Console
from parcs.engine.local import LocalEngineServer
from parcs.engine.remote import RemoteEngine
from parcs.job import run_job
from parcs.model.settings import Settings
from parcs.module import golang, manifest

MODULE = Path(__file__).parent / "golang_module"
BARE = "bare Go sockets"


def rows(*, quick: bool) -> list[Row]:
    module = manifest.load(MODULE)
    golang.prepare([module], print)
    runs: list[dict[str, float]] = [
        run_job(module, {}, keep_stdout=True, is_quiet=True).result for _ in range(1 if quick else 3)
    ]
    own = {name: median(run[name] for run in runs) for name in runs[0]}
    return [
        Row("round trip, Go to Go", own["ours_trip"] * 1e6, own["bare_trip"] * 1e6, "us", BARE, "<= 1.3"),
        Row(
            "throughput, Go to Go, 64 MiB",
            own["ours_rate"] / 1e9,
            own["bare_rate"] / 1e9,
            "GB/s",
            BARE,
            ">= 0.9",
        ),
        *_from_python(module, own["bare_trip"] * 1e6, 500 if quick else 3000, 10 if quick else 30),
    ]


def _from_python(module: manifest.Module, go_floor: float, trips: int, starts: int) -> list[Row]:
    os.environ["PARCS_QUIET"] = "1"
    endpoint = Endpoint("runner", b"bench", Settings())
    server = LocalEngineServer([MODULE.parent], Settings(), Console(all_to_stderr=True), token=endpoint.token)
    server.backend._modules[module.name] = module
    engine = RemoteEngine(endpoint, EngineClient(endpoint, str(server.server.address)), server.close)

    def crossed() -> list[float]:
        with engine.run(module.name) as point:
            point.send({"kind": "echo", "count": trips})
            return [percentile(peers.round_trips(trips, MESSAGE, point.send, point.recv), 0.5)]

    def floor() -> list[float]:
        with peers.bare_peer("bare-echo") as sock:
            times = peers.round_trips(
                trips, MESSAGE, lambda v: peers.bare_send(sock, v), lambda: peers.bare_recv(sock)
            )
            return [percentile(times, 0.5)]

    def start() -> list[float]:
        times = []
        for _ in range(starts):
            begin = time.perf_counter()
            point = engine.run(module.name)
            times.append((time.perf_counter() - begin) * 1e3)
            point.shutdown()
            while engine.client.request("status", points=[str(point.name)])["points"][0]["ended_at"] is None:
                time.sleep(0.005)  # its end is not to slow the next one's beginning, as the bare one's is not
        return [median(times)]

    def start_service() -> list[float]:
        program = golang.compiled(module.folder, module.command)
        names = {"PARCS_TOKEN": "x", "PARCS_POINT": "x", "PARCS_ENGINE": "tcp://127.0.0.1:1"}
        return [median(_dials_back(program, "PARCS_CALL", "tcp://", names) for _ in range(starts))]

    def start_bare() -> list[float]:
        program = golang.compiled(module.folder, module.runner)
        return [median(_dials_back(program, "BARE_CALL", "", {}) for _ in range(starts))]

    (mixed,), (python_floor,) = interleaved(5, crossed, floor)
    (service,), (bare,) = interleaved(5, start_service, start_bare)
    (point,), (same,) = interleaved(3, start, start_bare)
    engine.close()
    endpoint.close()
    mean = (python_floor + go_floor) / 2
    return [
        Row("round trip, Python to Go", mixed, mean, "us", "the mean of both floors", "<= 1.5"),
        Row("a Go service dials back", service, bare, "ms", "a bare Go program does", "<= 1.3"),
        Row("engine.run of a Go module", point, same, "ms", "a bare Go program dials back", ""),
    ]


def _dials_back(program: tuple[str, ...], variable: str, scheme: str, names: dict[str, str]) -> float:
    """Milliseconds until a program, started as engines start them, has dialled back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = "{}{}:{}".format(scheme, *server.getsockname())
        environment = {**os.environ, **names, variable: where}
        begin = time.perf_counter()
        process = subprocess.Popen(
            program, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        sock, _ = server.accept()
        took = (time.perf_counter() - begin) * 1e3
        sock.close()
        process.communicate()
    return took
