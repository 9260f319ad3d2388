"""A pool of two workers and no-op tasks, against concurrent.futures; loky, Ray and Dask where installed."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.report import Row, interleaved, percentile

TASKS = 10_000


def no_op(value: int) -> int:
    return value


def rows(*, quick: bool) -> list[Row]:
    rounds = 3 if quick else 5
    found = []
    for name, make in _others().items():
        main = name == "ProcessPoolExecutor"
        tasks = TASKS if main or name == "loky" else TASKS // 10
        mine, theirs = interleaved(
            rounds if main else 1,
            lambda tasks=tasks: _measure(_ours, tasks),
            lambda make=make, tasks=tasks: _measure(make, tasks),  # type: ignore[misc]
        )
        found += [
            Row(f"{tasks:,} no-op tasks, 2 workers", mine[0], theirs[0], "1/s", name, ">= 2" if main else ""),
            Row("round trip of one task, p50", mine[1], theirs[1], "us", name, "<= 0.5" if main else ""),
        ]
    return found


def _measure(make: Callable[[], Any], tasks: int) -> list[float]:
    with make() as submit:
        for warm in [submit(no_op, i) for i in range(200)]:
            warm.result()
        begin = time.perf_counter()
        results = [future.result() for future in [submit(no_op, i) for i in range(tasks)]]
        rate = tasks / (time.perf_counter() - begin)
        assert results == list(range(tasks))
        times = []
        for i in range(1000):
            begin = time.perf_counter()
            submit(no_op, i).result()
            times.append((time.perf_counter() - begin) * 1e6)
    return [rate, percentile(times, 0.5)]


@contextmanager
def _ours() -> Any:
    from parcs import Pool

    with Pool(2) as pool:
        yield pool.submit


@contextmanager
def _process_pool() -> Any:
    with ProcessPoolExecutor(2) as pool:
        yield pool.submit


@contextmanager
def _loky() -> Any:
    from loky import ProcessPoolExecutor as LokyExecutor

    with LokyExecutor(2) as pool:
        yield pool.submit


@contextmanager
def _ray() -> Any:
    import ray

    class Result:
        def __init__(self, reference: Any) -> None:
            self.reference = reference

        def result(self) -> Any:
            return ray.get(self.reference)

    ray.init(num_cpus=2, logging_level=logging.ERROR, include_dashboard=False)
    remote = ray.remote(no_op)
    yield lambda _, value: Result(remote.remote(value))
    ray.shutdown()


@contextmanager
def _dask() -> Any:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield lambda function, value: client.submit(function, value, pure=False)


def _others() -> dict[str, Callable[[], Any]]:
    others: dict[str, Callable[[], Any]] = {"ProcessPoolExecutor": _process_pool}
    for package, make in (("loky", _loky), ("ray", _ray), ("distributed", _dask)):
        if importlib.util.find_spec(package) is not None:
            others[package] = make
    return others
