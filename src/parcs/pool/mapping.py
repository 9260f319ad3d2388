"""What `Pool.map` is made of: chunks of items, results in order, a progress bar."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def call_each(function: Callable[..., T], items: list[tuple[Any, ...]]) -> list[T]:
    return [function(*item) for item in items]


def chunks(items: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def results(futures: list[Future[Any]], deadline: float | None) -> Iterator[Any]:
    """The results in order; what is left is cancelled if the caller stops asking."""
    futures.reverse()
    try:
        while futures:
            left = None if deadline is None else deadline - time.monotonic()
            yield futures.pop().result(left)
    finally:
        for future in futures:
            future.cancel()


def with_progress(results: Iterator[T], total: int, title: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track

    yield from track(results, description=title, total=total, console=Console(stderr=True))
