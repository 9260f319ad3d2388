"""Runs an example as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent


@pytest.fixture
def run_example(tmp_path: Path) -> Callable[..., Any]:
    """``run_example("factor", N=30)`` gives what ``parcs run factor -e N=30 --json`` prints."""

    def run(name: str, **parameters: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "parcs", "run", name, "--json"]
        for key, value in parameters.items():
            command += ["-e", f"{key}={value}"]
        environment = {**os.environ, "PARCS_PATH": str(EXAMPLES)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    return run
