"""joblib (and so scikit-learn) on points: ``import parcs.joblib``, then ``parallel_config(backend="parcs")``.

    import joblib, parcs.joblib
    with joblib.parallel_config(backend="parcs", n_jobs=4):
        GridSearchCV(...).fit(x, y)

Workers are started at the first use and stay warm until `shutdown` or the end of the program. An engine
other than the default is given as ``parallel_config(backend="parcs", engine=engine)``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib._parallel_backends import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from parcs.engine.base import Engine
from parcs.pool import Pool
from parcs.pool.executor import processors

__all__ = ["ParcsBackend", "shutdown"]

_pools: dict[tuple[int, int], Pool] = {}


class ParcsBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """The backend; joblib makes it."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False

    def __init__(self, *, engine: Engine | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._engine = engine
        self._pool: Pool | None = None
        self._futures: set[Future[Any]] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """The number of workers that ``n_jobs`` asks for; negative counts back from all processors."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(processors() + 1 + n_jobs, 1)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Have ``n_jobs`` workers ready; returns their number."""
        workers = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        key = (id(self._engine), workers)
        if key not in _pools:
            _pools[key] = Pool(workers, engine=self._engine)
        self._pool = _pools[key]
        return workers

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None
    ) -> Future[Any]:
        """Have a worker call ``func``."""
        assert self._pool is not None
        future = self._pool.submit(func)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """The result, or raise what the call raised."""
        return future.result()

    def terminate(self) -> None:
        """The call is over; the workers stay warm for the next."""
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop what has not begun."""
        for future in list(self._futures):
            future.cancel()


def shutdown() -> None:
    """End the workers that joblib calls have left warm."""
    while _pools:
        _pools.popitem()[1].shutdown()


register_parallel_backend("parcs", ParcsBackend)
