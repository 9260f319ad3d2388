"""Map-reduce over a pool: chunks are mapped and reduced where they are, then partial results in a tree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from parcs.engine.base import Engine
from parcs.pool.executor import Pool

Item = TypeVar("Item")
Value = TypeVar("Value")

_CHUNKS_PER_WORKER = 4


def map_reduce(
    mapper: Callable[[Item], Value],
    reducer: Callable[[Value, Value], Value],
    data: Iterable[Item],
    *,
    pool: Pool | None = None,
    engine: Engine | None = None,
    workers: int | None = None,
    chunks: int | None = None,
) -> Value:
    """``reduce(reducer, map(mapper, data))``, on the workers of a pool.

    Args:
        reducer: associative; it need not be commutative, neighbours are reduced in order.
        pool: run on this one; otherwise on one made for the call, with ``engine`` and ``workers``.
        chunks: into how many parts the data is split; four per worker if None.

    Raises:
        ValueError: there is no data.
    """
    items = list(data)
    if not items:
        raise ValueError("map_reduce of no data has no value")
    if pool is None:
        with Pool(workers, engine=engine) as own:
            return map_reduce(mapper, reducer, items, pool=own, chunks=chunks)
    count = min(len(items), chunks or _CHUNKS_PER_WORKER * pool.workers)
    bounds = [len(items) * i // count for i in range(count + 1)]
    parts = [items[a:b] for a, b in itertools.pairwise(bounds)]
    return _reduce_tree(pool, reducer, [pool.submit(_map_chunk, mapper, reducer, part) for part in parts])


def _reduce_tree(pool: Pool, reducer: Callable[[Value, Value], Value], level: list[Future[Value]]) -> Value:
    """Reduce neighbours, as soon as both are there, level by level."""
    while len(level) > 1:
        pairs = {i: (level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)}
        reduced: dict[int, Future[Value]] = {}
        waiting = set(level)
        while len(reduced) < len(pairs):
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # a failure ends the whole at once
            for i, (left, right) in pairs.items():
                if i not in reduced and left.done() and right.done():
                    reduced[i] = pool.submit(reducer, left.result(), right.result())
        odd = level[len(level) - len(level) % 2 :]
        level = [reduced[i] for i in sorted(reduced)] + odd
    return level[0].result()


def _map_chunk(
    mapper: Callable[[Item], Value], reducer: Callable[[Value, Value], Value], items: list[Item]
) -> Value:
    values = map(mapper, items)
    total = next(values)
    for value in values:
        total = reducer(total, value)
    return total
