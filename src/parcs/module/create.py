"""A new module from a template: files that run, and pass their test, as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from parcs import errors
from parcs.module import golang

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

_TEST = """\
import json
import subprocess
import sys
from pathlib import Path


def test_the_sum_is_right():
    command = [sys.executable, "-m", "parcs", "run", str(Path(__file__).parent), "-e", "N=1000", "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert json.loads(output)["result"] == sum(i * i for i in range(1000))
"""


def _manifest(language: str, command: str, runner: str) -> str:
    return f"""\
name = "{{name}}"
description = "The sum of the squares below N, by P points"
language = "{language}"
command = "{command}"
runner = "{runner}"

[parameters]
N = {{{{ type = "int", default = 1000000, min = 1, help = "squares below this number are summed" }}}}
P = {{{{ type = "int", default = 2, min = 1, help = "how many points work at once" }}}}
"""


_PYTHON = {
    "parcs.toml": _manifest("python", "python service.py", "python runner.py"),
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
    "test_{file}.py": _TEST,
}

_GO = {
    "parcs.toml": _manifest("go", "go run ./service", "go run ./runner"),
    "go.mod": """\
module {name}

{requirements}
// The SDK that came with PARCS.
replace {sdk} => {sdk_folder}
""",
    "service/main.go": """\
// A point: sums the squares of the numbers in a range that its creator sends.
package main

import "github.com/parcs-project/parcs/sdk/go/parcs"

// {title} is the point's program.
type {title} struct{{ *parcs.Service }}

// Run answers one request.
func (s *{title}) Run() {{
	var bounds [2]int
	if err := s.Recv(&bounds); err != nil {{
		s.Fail(err)
		return
	}}
	sum := 0
	for i := bounds[0]; i < bounds[1]; i++ {{
		sum += i * i
	}}
	s.Fail(s.Send(sum))
}}

func main() {{ parcs.Exec(&{title}{{parcs.DefaultService()}}) }}
""",
    "runner/main.go": """\
// The job: splits [0, N) over P points and adds up what they send back.
package main

import (
	"context"
	"os"
	"strconv"

	"github.com/parcs-project/parcs/sdk/go/parcs"
)

func main() {{ parcs.Run(squares) }}

func squares(_ context.Context, engine *parcs.Engine) (any, error) {{
	n, err := strconv.Atoi(os.Getenv("N"))
	if err != nil {{
		return nil, err
	}}
	p, err := strconv.Atoi(os.Getenv("P"))
	if err != nil {{
		return nil, err
	}}
	points, err := engine.StartAll("{name}", p)
	if err != nil {{
		return nil, err
	}}
	for i, point := range points {{
		if err := point.Send([]int{{n * i / p, n * (i + 1) / p}}); err != nil {{
			return nil, err
		}}
	}}
	total := 0
	for _, point := range points {{
		var sum int
		if err := point.Recv(&sum); err != nil {{
			return nil, err
		}}
		total += sum
	}}
	return total, nil
}}
""",
    "test_{file}.py": _TEST,
}

_LANGUAGES: Final = {"python": _PYTHON, "go": _GO}
"""The templates, by language."""


def languages() -> list[str]:
    """What modules can be made in."""
    return list(_LANGUAGES)


def create(name: str, parent: Path, language: str = "python") -> Path:
    """Make the folder ``parent/name`` with a runnable module in it; returns its path.

    Raises:
        ManifestError: the name cannot be one, the folder exists, or there is no such language.
    """
    if language not in _LANGUAGES:
        raise errors.ManifestError(f"no template for {language!r}; there are {', '.join(languages())}")
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
    words = {"name": name, "title": title}
    if language == "go":
        words |= {"sdk": golang.SDK, "sdk_folder": str(golang.sdk()), "requirements": golang.requirements()}
        (folder / "go.sum").write_bytes((golang.sdk() / "go.sum").read_bytes())
    for file, text in _LANGUAGES[language].items():
        path = folder / file.format(file=name.replace("-", "_"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(**words), encoding="utf-8")
    return folder
