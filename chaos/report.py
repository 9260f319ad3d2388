"""A history for people: figures in words, and a picture."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from chaos.checker import Violation
from chaos.history import Event, History

_AFTER_S: Final = 45.0
RULES: Final = {
    "present": "acknowledged, and not there once and over at the end",
    "once": "more than one accepted result",
    "legal": "seen going back by one client",
    "current": "seen older than somebody had seen it before",
    "cancelled": "cancelled, and run on",
}


class Gap(NamedTuple):
    """The longest time without an acknowledged submission."""

    seconds: float
    at: float


def gap(history: History, begun: float, ended: float) -> Gap:
    """Between two times: from one acknowledgement to the next."""
    times = sorted(o.ended for o in history.operations if o.verb == "submit" and o.outcome == "ok")
    marks = [begun, *(t for t in times if begun < t < ended), ended]
    return max(Gap(b - a, a) for a, b in itertools.pairwise(marks))


def after(history: History, event: Event, last: float) -> float:
    """The longest time without an acknowledged submission from a fault on, until the next fault."""
    later = [each.begun for each in history.events if each.begun > event.begun]
    return gap(history, event.begun, min([event.ended + _AFTER_S, last, *later])).seconds


def text(history: History, violations: Sequence[Violation], picture: str) -> str:
    """The report, in Markdown."""
    facts = history.facts
    last = max((o.ended for o in history.operations), default=0.0)
    counts = Counter((o.verb, o.outcome) for o in history.operations)
    lines = [
        f"# What a nemesis did for {last / 60:.0f} minutes, and what came of it",
        "",
        f"`python -m chaos --seed {facts['seed']} --minutes {facts['minutes']:g}`, {facts['date']}, "
        f"{facts['machine']}. Three hosts (network namespaces), each with etcd, Patroni with PostgreSQL, a hub "
        f"and an executor of two slots; {facts['clients']} clients.",
        "",
        f"![The history]({picture})",
        "",
        "| rule | broken |",
        "| --- | --- |",
        *(f"| {said} | {sum(v.rule == rule for v in violations)} |" for rule, said in RULES.items()),
        "",
        *(f"- **{v.rule}**, task {v.task}: {v.what}" for v in violations[:50]),
        f"{len(history.events)} faults; {len(history.operations)} operations; {len(history.ends)} tasks, of which "
        + ", ".join(f"{n} {state}" for state, n in Counter(e.state for e in history.ends).most_common())
        + f"; {sum(max(0, len(e.attempts) - 1) for e in history.ends)} attempts were runs of something once more.",
        "",
        "| operation | acknowledged | refused | unknown | p50 | p99 | longest |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for verb in ("submit", "read", "wait", "list", "cancel"):
        times = sorted(o.ended - o.begun for o in history.operations if o.verb == verb and o.outcome == "ok")
        if times:
            p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
            lines.append(
                f"| {verb} | {counts[verb, 'ok']} | {counts[verb, 'refused']} | {counts[verb, 'unknown']} | "
                f"{p50 * 1e3:.0f} ms | {p99:.1f} s | {times[-1]:.1f} s |"
            )
    lines += [
        "",
        "How long after a fault no submission was acknowledged. One that came before the database had recovered",
        "from the one before is two at once, and counted apart:",
        "",
        "| fault | times | median | longest |",
        "| --- | --- | --- | --- |",
    ]
    by_kind: dict[str, list[float]] = defaultdict(list)
    for event in history.events:
        by_kind[event.kind if event.was_whole else "any, two at once"].append(after(history, event, last))
    for kind, gaps in sorted(by_kind.items(), key=lambda item: -max(item[1])):
        gaps.sort()
        lines.append(f"| {kind} | {len(gaps)} | {gaps[len(gaps) // 2]:.1f} s | {gaps[-1]:.1f} s |")
    return "\n".join(lines) + "\n"


def draw(history: History, file: Path) -> None:
    """The picture: faults above, acknowledged operations a second, and how long each took."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = sorted({event.kind for event in history.events})
    last = max(o.ended for o in history.operations)
    height = 2.2 + 0.22 * len(kinds)
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, sharex=True, figsize=(13, 6 + height), height_ratios=[height, 2, 3], layout="constrained"
    )
    colours = pyplot.get_cmap("tab20")
    for event in history.events:
        row = kinds.index(event.kind)
        top.barh(row, max(event.ended - event.begun, last / 400), left=event.begun, color=colours(row % 20))
    top.set_yticks(range(len(kinds)), kinds)
    top.set_title("faults")
    step = max(1.0, last / 600)
    for outcome, colour in (("ok", "tab:green"), ("unknown", "tab:red")):
        times = [o.ended for o in history.operations if o.outcome == outcome]
        bins = [i * step for i in range(int(last / step) + 2)]
        heights, edges = _histogram(times, bins)
        middle.step(edges, [h / step for h in heights], where="post", color=colour, label=outcome, lw=0.8)
    middle.set_title("operations a second")
    middle.legend(loc="upper right")
    for verb, colour in (("submit", "tab:blue"), ("read", "tab:olive"), ("cancel", "tab:purple")):
        some = [o for o in history.operations if o.verb == verb and o.outcome == "ok"]
        bottom.scatter(
            [o.begun for o in some],
            [max(o.ended - o.begun, 1e-3) for o in some],
            s=3,
            color=colour,
            label=verb,
        )
    bottom.set_yscale("log")
    bottom.set_title("how long each took, seconds")
    bottom.set_xlabel("seconds since the run began")
    bottom.legend(loc="upper right")
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def _histogram(times: Sequence[float], edges: Sequence[float]) -> tuple[list[int], list[float]]:
    step = edges[1] - edges[0]
    counts = Counter(int(time / step) for time in times)
    return [counts[i] for i in range(len(edges))], list(edges)
