"""The lab's base image: a minimal Debian with Python, made once from this machine's package archive.

Nodes of a lab reach no public registry, so `python:3-slim` cannot be pulled. debootstrap makes its like in
about a minute; the result is kept as a tar file for every later lab.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from parcs import errors
from parcs.lab import system

CACHE = Path("/var/cache/parcs-lab")
_DEFAULT = ("http://deb.debian.org/debian", "bookworm")
_DROPPED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def ensure(*more: str) -> Path:
    """The tar file of the image's root; made if it is not there yet.

    Args:
        more: packages that it has besides Python.

    Raises:
        LabError: it could not be made.
    """
    mirror, suite = archive()
    target = CACHE / f"{'-'.join(('python', *more))}-{suite}.tar"
    if target.is_file():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="parcs-lab-", dir=CACHE) as folder:
        root = Path(folder) / "root"
        packages = f"--include={','.join(('python3', 'ca-certificates', *more))}"
        system.run("debootstrap", "--variant=minbase", packages, suite, str(root), mirror)
        for name in _DROPPED:
            shutil.rmtree(root / name, ignore_errors=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        made = Path(folder) / "image.tar"
        system.run("tar", "-C", str(root), "--exclude=./dev/*", "--exclude=./proc/*", "-cf", str(made), ".")
        os.replace(made, target)
    return target


def archive(sources: Path = Path("/etc/apt")) -> tuple[str, str]:
    """The package archive this machine itself uses, and its release: (mirror, suite).

    Raises:
        LabError: this machine is no Debian.
    """
    texts = [file.read_text(errors="replace") for file in _source_files(sources)]
    for text in texts:
        uri = re.search(r"^URIs:\s*(\S+)", text, re.M)
        suite = re.search(r"^Suites:\s*(\S+)", text, re.M)
        if uri and suite:
            return uri[1], suite[1]
        line = re.search(r"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)", text, re.M)
        if line:
            return line[1], line[2]
    if not sources.is_dir():
        raise errors.LabError("a lab builds its base image with debootstrap, which needs a Debian machine")
    return _DEFAULT


def _source_files(sources: Path) -> list[Path]:
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    return [file for file in files if file.is_file() and file.suffix in (".list", ".sources")]
