"""What a Python image needs besides its interpreter, fetched on this machine.

Nodes of a cluster often reach no package index, and their images may have no pip. So this machine's pip fetches
wheels for the image's Python and processor into a folder, which a build copies in. Folders are kept and used
again while the requirements stay the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from parcs import errors
from parcs.module import cache

_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_LIBC: Final = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")


def folder(requirements: Sequence[str], python: str, architecture: str, plain: Sequence[str] = ()) -> Path:
    """A folder with these requirements installed, to be put on PYTHONPATH.

    Args:
        requirements: as lines of a requirements file.
        python: the image's Python, as ``3.11``.
        architecture: its processor, as Docker names it: ``amd64``.
        plain: packages in nothing but Python, of which there may be no wheels; without what they require.

    Raises:
        ImageBuildError: one of them cannot be had as a wheel for that Python.
    """
    text = "\n".join([python, architecture, *requirements, *plain])
    target = cache.folder() / "sites" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as place:
        made = Path(place) / "site"
        made.mkdir()
        if requirements:
            _install(requirements, python, architecture, made)
        if plain:
            _pip(["--no-deps", *plain], made, "")
        shutil.rmtree(made / "bin", ignore_errors=True)
        try:
            os.rename(made, target)
        except OSError:
            if not target.is_dir():  # somebody else made it meanwhile: as good as ours
                raise
    return target


def own_requirements(*names: str) -> list[str]:
    """Packages in the versions that this PARCS runs with here: what they write is read there."""
    return [f"{name}=={metadata.version(name)}" for name in names]


def _install(requirements: Sequence[str], python: str, architecture: str, target: Path) -> None:
    machine = _MACHINES.get(architecture, architecture)
    platforms = [word for libc in _LIBC for word in ("--platform", f"{libc}_{machine}")]
    kind = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    hint = f"(wheels for Python {python} on {architecture}; a module may bring a Dockerfile of its own)"
    _pip([*kind, *requirements], target, hint)


def _pip(words: Sequence[str], target: Path, hint: str) -> None:
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
        "--target", str(target), *words,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-12:]
        asked = [word for word in words if not word.startswith("-")]
        raise errors.ImageBuildError(" ".join(asked), [*lines, *filter(None, [hint])])
