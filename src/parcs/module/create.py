"""A new module from a template: files that run, and pass their test, as they are."""

from __future__ import annotations

import re
from pathlib import Path

from parcs import errors

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

_FILES = {
    "parcs.toml": """\
name = "{name}"
description = "The sum of the squares below N, by P points"
language = "python"
command = "python service.py"
runner = "python runner.py"

[parameters]
N = {{ type = "int", default = 1000000, min = 1, help = "squares below this number are summed" }}
P = {{ type = "int", default = 2, min = 1, help = "how many points work at once" }}
""",
    "service.py": '''\
from parcs.server import Service, serve


class {title}(Service):
    """One point: sums the squares of the numbers its creator sends a range of."""

    def run(self):
        begin, end = self.recv()
        self.send(sum(i * i for i in range(begin, end)))


serve({title}())
''',
    "runner.py": '''\
import os

from parcs.server import Runner, serve


class {title}Runner(Runner):
    """The job: splits [0, N) over P points and adds up what they send back."""

    def run(self):
        n, p = int(os.environ["N"]), int(os.environ["P"])
        points = self.engine.run_all("{name}", p)
        for i, point in enumerate(points):
            point.send([n * i // p, n * (i + 1) // p])
        return sum(point.recv() for point in points)


serve({title}Runner())
''',
    "test_{file}.py": """\
import json
import subprocess
import sys
from pathlib import Path


def test_the_sum_is_right():
    command = [sys.executable, "-m", "parcs", "run", str(Path(__file__).parent), "-e", "N=1000", "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert json.loads(output)["result"] == sum(i * i for i in range(1000))
""",
}


def create(name: str, parent: Path) -> Path:
    """Make the folder ``parent/name`` with a runnable module in it; returns its path.

    Raises:
        ManifestError: the name cannot be one, or the folder exists.
    """
    if not _NAME.fullmatch(name):
        raise errors.ManifestError(
            f"{name!r} cannot be a module's name: lower-case letters, digits, - and _, starting with a letter"
        )
    folder = parent / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise errors.ManifestError(f"{folder} exists already; choose another name or remove it") from None
    except OSError as error:
        raise errors.ManifestError(f"{folder} cannot be made: {error.strerror}") from None
    title = "".join(word.capitalize() for word in re.split(r"[-_]", name))
    for file, text in _FILES.items():
        path = folder / file.format(file=name.replace("-", "_"))
        path.write_text(text.format(name=name, title=title), encoding="utf-8")
    return folder
