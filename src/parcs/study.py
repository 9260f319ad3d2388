"""The scaling study: one program at several numbers of points, and what every lab report works out of it.

With T(p) the run time at p points and p0 the fewest points of the study (usually 1):

    speed-up        S(p) = p0 T(p0) / T(p)      with p0 > 1, p0 points are taken to speed up perfectly
    efficiency      E(p) = S(p) / p
    serial fraction e(p) = (1/S(p) - 1/p) / (1 - 1/p)       (Karp and Flatt, CACM 33(5), 1990)
    communication   C(p) = time points were blocked in recv / (that + their processor time)

A serial fraction that stays level as p grows means that the program's serial part limits it; one that rises
means that overhead (communication, start, imbalance) does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from parcs import errors
from parcs.engine.space import Summary


class Row(NamedTuple):
    """The figures at one number of points. ``serial_fraction`` is None at one point."""

    points: int
    seconds: float
    speedup: float
    efficiency: float
    serial_fraction: float | None
    communication: float


def sweep(run: Callable[[int], Summary], points: Sequence[int], repeats: int) -> list[Row]:
    """Run the program ``repeats`` times at each number of points, and work out the figures.

    The median run counts. Numbers of points are taken in increasing order, each once.
    """
    times: list[tuple[int, float, float]] = []
    for count in sorted(set(points)):
        runs = [run(count) for _ in range(repeats)]
        seconds = median(summary.wall_s for summary in runs)
        times.append((count, seconds, median(map(_communication, runs))))
    return figures(times)


def figures(times: Sequence[tuple[int, float, float]]) -> list[Row]:
    """From ``(points, seconds, communication share)`` to all figures; the first row is the base."""
    base_points, base_seconds, _ = times[0]
    rows = []
    for points, seconds, communication in times:
        speedup = base_points * base_seconds / seconds
        serial = None if points == 1 else (1 / speedup - 1 / points) / (1 - 1 / points)
        rows.append(Row(points, seconds, speedup, speedup / points, serial, communication))
    return rows


def _communication(summary: Summary) -> float:
    total = summary.waited_s + summary.busy_s
    return summary.waited_s / total if total else 0.0


def plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw speed-up, efficiency, serial fraction and communication over points, as a PNG.

    Raises:
        SettingsError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise errors.SettingsError("the plot needs matplotlib: pip install 'parcs[study]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    points = [row.points for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(points, points, "--", color="0.6", label="ideal")
    left.plot(points, [row.speedup for row in rows], "o-", color="C0", label="measured")
    left.set(title=title, xlabel="points", ylabel="speed-up", xticks=points, ylim=(0, None))
    left.legend()
    right.plot(points, [row.efficiency for row in rows], "o-", label="efficiency")
    measured = [row for row in rows if row.serial_fraction is not None]
    right.plot(
        [row.points for row in measured],
        [row.serial_fraction for row in measured],
        "s-",
        label="serial fraction (Karp-Flatt)",
    )
    right.plot(points, [row.communication for row in rows], "^-", label="communication")
    right.set(xlabel="points", ylabel="share", xticks=points, ylim=(min(0, right.get_ylim()[0]), None))
    right.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise errors.SettingsError(f"the plot {path} cannot be written: {error.strerror}") from None
    finally:
        pyplot.close(figure)
