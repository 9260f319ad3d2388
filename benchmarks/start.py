"""How long things take to start: the import, the first point, sixteen points."""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import parcs
from benchmarks.report import Row, interleaved

_FLOOR = "python -c 'import asyncio, json, socket'"
_ECHO = """\
from parcs.server import Service, serve

class Echo(Service):
    def run(self):
        self.send(self.recv())

serve(Echo())
"""


def rows(*, quick: bool) -> list[Row]:
    rounds = 7 if quick else 15
    compileall.compile_dir(Path(parcs.__file__).parent, quiet=1)  # as pip leaves an installed package
    imports, floor = interleaved(rounds, lambda: [_python("import parcs")], _floor)
    programs, same_floor = interleaved(rounds, lambda: [_python("import parcs.server")], _floor)
    first, floor_again = interleaved(rounds, lambda: [_points(1)], _floor)
    many, serial = interleaved(3, lambda: [_points(16)], lambda: [16 * _points(1)])
    return [
        Row("import parcs", imports[0], floor[0], "ms", _FLOOR, "<= 1.5"),
        Row("import parcs.server", programs[0], same_floor[0], "ms", _FLOOR, "<= 1.5"),
        Row("first local point answers", first[0], floor_again[0], "ms", _FLOOR, "<= 1.3"),
        Row("16 points start and answer", many[0], serial[0], "ms", "16 x one point", "<= 0.8"),
    ]


def _floor() -> list[float]:
    return [_python("import asyncio, json, socket")]


def _python(code: str) -> float:
    """Milliseconds of a whole ``python -c``."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - begin) * 1e3


def _points(count: int) -> float:
    """Milliseconds from asking a running engine for points until each has answered."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "parcs.toml").write_text('name = "bench-echo"\ncommand = "python echo.py"\n')
        (Path(folder) / "echo.py").write_text(_ECHO)
        with parcs.connect("local") as engine:
            begin = time.perf_counter()
            points = engine.run_all(folder, count, environment={"PARCS_QUIET": "1"})
            for point in points:
                point.send(1)
            for point in points:
                point.recv()
            return (time.perf_counter() - begin) * 1e3
