"""Rows of figures, and how they are shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure of ours beside a reference's. ``bound`` is what the ratio must be, at most or at least."""

    what: str
    ours: float
    reference: float
    unit: str
    against: str
    bound: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.reference

    @property
    def verdict(self) -> str:
        if not self.bound:
            return ""
        sign, limit = self.bound.split()
        holds = self.ratio <= float(limit) if sign == "<=" else self.ratio >= float(limit)
        return "holds" if holds else "MISSED"


def interleaved(
    rounds: int, ours: Callable[[], Sequence[float]], reference: Callable[[], Sequence[float]]
) -> tuple[list[float], list[float]]:
    """Run both in turns, so that a machine's mood strikes both; the median of each figure."""
    got: tuple[list[Sequence[float]], list[Sequence[float]]] = ([], [])
    for _ in range(rounds):
        got[1].append(reference())
        got[0].append(ours())
    mine, theirs = ([statistics.median(column) for column in zip(*runs, strict=True)] for runs in got)
    return mine, theirs


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the table, or JSON."""
    if as_json:
        print(
            json.dumps(
                [{**row._asdict(), "ratio": row.ratio, "verdict": row.verdict} for row in rows], indent=2
            )
        )
        return
    print(
        f"{'what':<44} {'ours':>10} {'reference':>10} {'unit':<6} {'ratio':>6}  {'bound':<8} {'':<7} against"
    )
    for row in rows:
        print(
            f"{row.what:<44} {row.ours:>10.4g} {row.reference:>10.4g} {row.unit:<6} {row.ratio:>6.2f}  "
            f"{row.bound:<8} {row.verdict:<7} {row.against}"
        )
