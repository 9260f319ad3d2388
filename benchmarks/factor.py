"""The factor example on four points against the serial loop in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Row, interleaved

EXAMPLES = Path(__file__).parents[1] / "examples"
_SERIAL = """
import sys
def run(n, a, b):
    facts = []
    for i in range(a, b):
        if n % i == 0:
            facts.append(i)
    return facts
run(int(sys.argv[1]), 2, int(sys.argv[1]))
"""


def rows(*, quick: bool) -> list[Row]:
    number = 30_000_000 if quick else 120_000_000

    def serial() -> list[float]:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", _SERIAL, str(number)], check=True)
        return [1 / (time.perf_counter() - begin)]

    def ours() -> list[float]:
        command = [sys.executable, "-m", "parcs", "run", "factor", "-e", f"N={number}", "-e", "P=4", "--json"]
        environment = {**os.environ, "PARCS_PATH": str(EXAMPLES)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return [1 / json.loads(done.stdout)["summary"]["wall_s"]]

    mine, theirs = interleaved(1 if quick else 3, ours, serial)
    return [Row(f"factors of {number:,}, 4 points", mine[0], theirs[0], "1/s", "the serial loop", ">= 1.8")]
