"""The pool, on real worker processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, as_completed, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from parcs import Pool, errors, map_reduce
from parcs.pool.receiver import Receiver
from tests.conftest import wait_until


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as shared:
        yield shared


@pytest.fixture(autouse=True)
def _no_threads_left() -> None:
    """The shared pool keeps its threads between tests."""


def square(number: int) -> int:
    return number * number


class OddError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def test_results_come_back_in_order(pool: Pool) -> None:
    assert list(pool.map(square, range(1000))) == [n * n for n in range(1000)]
    assert list(pool.map(square, range(1000), chunksize=64)) == [n * n for n in range(1000)]


def test_lambdas_closures_and_keywords_travel(pool: Pool) -> None:
    offset = 7
    assert pool.submit(lambda a, *, b: a + b + offset, 1, b=2).result(10) == 10


def test_a_changed_closure_is_sent_again(pool: Pool) -> None:
    state = {"n": 1}

    def read() -> int:
        return state["n"]

    assert pool.submit(read).result(10) == 1
    state["n"] = 2
    assert pool.submit(read).result(10) == 2


def test_arrays_travel_both_ways(pool: Pool) -> None:
    array = numpy.arange(100_000, dtype=float)
    doubled = pool.submit(lambda a: a * 2, array).result(10)
    assert numpy.array_equal(doubled, array * 2)
    doubled[0] = 1.0  # what arrives is the receiver's own, and writable


def test_as_completed_and_wait_work_from_the_standard_library(pool: Pool) -> None:
    futures = [pool.submit(square, n) for n in range(50)]
    assert sorted(future.result() for future in as_completed(futures, timeout=10)) == [
        n * n for n in range(50)
    ]
    more = [pool.submit(square, n) for n in range(50)]
    done, waiting = wait(more, timeout=10)
    assert len(done) == 50 and not waiting


def test_many_threads_may_wait_at_once(pool: Pool) -> None:
    got: list[int] = []

    def ask(n: int) -> None:
        for _ in range(50):
            got.append(pool.submit(square, n).result(10))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == sorted([n * n for n in range(4)] * 50)


def test_an_exception_is_itself_with_the_remote_traceback_as_cause(pool: Pool) -> None:
    future = pool.submit(lambda: {}["missing"])
    error = future.exception(10)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, errors.RemoteError)
    assert '{}["missing"]' in error.__cause__.remote_traceback


def test_an_exception_that_cannot_be_unpickled_arrives_as_remote_error(pool: Pool) -> None:
    def fail() -> None:
        raise OddError(1, 2)

    with pytest.raises(errors.RemoteError, match="OddError: 1 and 2"):
        pool.submit(fail).result(10)


def test_what_cannot_be_pickled_fails_its_own_future_only(pool: Pool) -> None:
    futures = [pool.submit(square, 2), pool.submit(len, threading.Lock()), pool.submit(square, 3)]  # type: ignore[arg-type]
    assert futures[0].result(10) == 4 and futures[2].result(10) == 9
    with pytest.raises(errors.EncodeError):
        futures[1].result(10)
    with pytest.raises(errors.EncodeError):
        pool.submit(threading.Lock).result(10)


def test_a_pending_task_can_be_cancelled_and_a_running_one_cannot() -> None:
    with Pool(1) as pool:
        running = pool.submit(time.sleep, 0.5)
        waiting = [pool.submit(square, n) for n in range(5)]
        wait_until(running.running, "the first task runs")
        assert waiting[-1].cancel()
        assert not running.cancel()
        with pytest.raises(CancelledError):
            waiting[-1].result(5)
        assert waiting[0].result(5) == 0


def test_a_timeout_leaves_the_task_alone() -> None:
    with Pool(1) as pool:
        future = pool.submit(time.sleep, 0.4)
        with pytest.raises(TimeoutError):
            future.result(0.05)
        assert future.result(5) is None


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(tmp_path: Path) -> None:
    flag = tmp_path / "died"

    def die_once(n: int) -> int:
        if n == 5 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with Pool(2) as pool:
        assert list(pool.map(die_once, range(40), timeout=30)) == list(range(40))
        wait_until(lambda: pool.statistics["workers"] == 2, "the dead worker is replaced")


def test_a_task_that_kills_its_workers_ends_in_an_error_and_harms_no_other() -> None:
    with Pool(2) as pool:
        good = [pool.submit(square, n) for n in range(20)]
        bad = pool.submit(os._exit, 3)
        more = [pool.submit(square, n) for n in range(20)]
        with pytest.raises(errors.WorkerLostError, match="exited with status 3"):
            bad.result(30)
        assert [f.result(30) for f in good + more] == [n * n for n in range(20)] * 2


def test_a_worker_that_is_dead_when_it_comes_leaves_nothing_behind() -> None:
    """The next one's socket has its number."""

    def receive(channel: Any) -> bool:
        channel.connection.sock.close()
        return False

    receiver = Receiver(lambda: True, receive, lambda: None)
    numbers = set()
    for _ in range(3):
        near, far = socket.socketpair()
        numbers.add(near.fileno())
        channel: Any = SimpleNamespace(connection=SimpleNamespace(sock=near), watchers=0, is_over=False)
        receiver.add(channel, channel)
        wait_until(lambda sock=near: sock.fileno() < 0, "it has been looked at")
        far.close()
    assert len(numbers) == 1
    receiver.close()


def test_retries_zero_never_runs_a_task_twice(tmp_path: Path) -> None:
    def count() -> None:
        with (tmp_path / "runs").open("a") as file:
            file.write("x")
        os._exit(1)

    with Pool(1, retries=0) as pool, pytest.raises(errors.WorkerLostError):
        pool.submit(count).result(20)
    assert (tmp_path / "runs").read_text() == "x"


def test_the_initializer_runs_in_every_worker() -> None:
    def prepare(value: str) -> None:
        os.environ["PREPARED"] = value

    with Pool(2, initializer=prepare, initargs=("yes",)) as pool:
        assert set(pool.map(lambda _: os.environ["PREPARED"], range(20))) == {"yes"}


def test_an_initializer_that_fails_breaks_the_pool_in_words() -> None:
    def fail() -> None:
        raise RuntimeError("no licence")

    with Pool(1, initializer=fail) as pool:
        with pytest.raises(errors.PoolError, match="initializer failed"):
            pool.submit(square, 1).result(10)
        with pytest.raises(errors.PoolError):
            pool.submit(square, 1)


def test_an_idle_worker_gets_what_a_busy_one_hoards() -> None:
    with Pool(2) as pool:
        list(pool.map(square, range(2000)))  # tasks look short: workers are given many at once
        begin = time.monotonic()
        futures = [pool.submit(time.sleep, 0.25) for _ in range(16)]
        wait(futures, timeout=20)
        assert time.monotonic() - begin < 16 * 0.25 * 0.85


def test_submitting_after_shutdown_is_refused() -> None:
    pool = Pool(1)
    future = pool.submit(square, 3)
    pool.shutdown()
    pool.shutdown()
    assert future.result(0) == 9
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)


def test_shutdown_can_cancel_what_has_not_begun() -> None:
    pool = Pool(1)
    futures = [pool.submit(time.sleep, 0.2) for _ in range(10)]
    pool.shutdown(cancel_futures=True)
    assert sum(future.cancelled() for future in futures) >= 8


def test_map_reduce_equals_the_serial_one_and_keeps_order(pool: Pool) -> None:
    words = [chr(97 + n % 26) for n in range(101)]
    assert map_reduce(str.upper, lambda a, b: a + b, words, pool=pool) == "".join(words).upper()
    assert map_reduce(square, lambda a, b: a + b, range(1), pool=pool, chunks=8) == 0
    with pytest.raises(ValueError, match="no data"):
        map_reduce(square, max, [], pool=pool)


def test_an_error_in_map_reduce_is_raised(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        map_reduce(lambda n: 1 / n, max, [1, 2, 0, 4], pool=pool)


def test_scikit_learn_searches_on_points() -> None:
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    import parcs.joblib

    x, y = load_iris(return_X_y=True)
    grid = {"C": [0.1, 1.0, 10.0]}
    serial = GridSearchCV(LogisticRegression(max_iter=500), grid).fit(x, y)
    try:
        with joblib.parallel_config(backend="parcs", n_jobs=2):
            parallel = GridSearchCV(LogisticRegression(max_iter=500), grid).fit(x, y)
            pids = set(joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(20)))
            with pytest.raises(ZeroDivisionError):
                joblib.Parallel()(joblib.delayed(lambda n: 1 / n)(n) for n in (1, 0))
    finally:
        parcs.joblib.shutdown()
    assert parallel.best_params_ == serial.best_params_
    assert parallel.best_score_ == pytest.approx(serial.best_score_)
    assert os.getpid() not in pids


def test_closing_one_pool_leaves_another_to_finish_at_exit(tmp_path: Path) -> None:
    source = (
        "import sys, time\nfrom pathlib import Path\nfrom parcs import Pool\n"
        "def work(path):\n    time.sleep(0.3)\n    Path(path).touch()\n"
        "first, second = Pool(1), Pool(1)\nfirst.shutdown()\nsecond.submit(work, sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", source, str(tmp_path / "done")], check=True, timeout=30)
    assert (tmp_path / "done").exists()
