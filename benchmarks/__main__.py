"""``python -m benchmarks [channel] [pool] [start] [factor] [golang] [hub] [page] [swarm] [--quick] [--json]``."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks.report import Row, show

HERE = ("channel", "pool", "start", "factor", "golang")
PARTS = (*HERE, "hub", "page", "swarm")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ours beside a reference, as ratios."
    )
    names = (
        f"of {', '.join(PARTS)}; if none, all but hub (PostgreSQL), page (Chromium) and swarm (a lab: root)"
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=names)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    rows: list[Row] = []
    for part in options.parts or HERE:
        print(f"{part} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"benchmarks.{part}").rows(quick=options.quick)
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
