"""Build contexts: tar files with the same bytes for the same content, so that caches and names hold."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import docker.utils.build

from parcs import errors

_NEVER: Final = ["**/__pycache__", "**/*.pyc", "**/.git", "**/.venv", "**/.mypy_cache", "**/.pytest_cache"]
_LARGEST: Final = 512 << 20
_TIME: Final = 315_532_800
"""1980-01-01: a time of its own for all files, the first that zip files can hold."""


class Context:
    """Files for a build, in memory."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, bool]] = {}

    def add(self, name: str, data: bytes, *, is_executable: bool = False) -> None:
        """Put one file in."""
        self._files[name] = (data, is_executable)

    def add_folder(self, prefix: str, folder: Path) -> None:
        """Put a folder's files in, but what its .dockerignore leaves out.

        Raises:
            ManifestError: it is too large for an image of a module.
        """
        self._files.setdefault(f"{prefix}/", (b"", False))
        for path in wanted_files(folder):
            is_executable = bool(path.stat().st_mode & 0o100)
            self.add(
                f"{prefix}/{path.relative_to(folder).as_posix()}",
                path.read_bytes(),
                is_executable=is_executable,
            )
        if sum(len(data) for data, _ in self._files.values()) > _LARGEST:
            raise errors.ManifestError(
                f"{folder} has more than {_LARGEST >> 20} MiB of files for its image; leave data out with a "
                ".dockerignore file, and send it over channels"
            )

    def digest(self, *more: str) -> str:
        """Twelve hexadecimal digits that change with the content."""
        seen = hashlib.sha256()
        for name, (data, is_executable) in sorted(self._files.items()):
            seen.update(f"{name}\0{len(data)}\0{is_executable}\0".encode())
            seen.update(data)
        for text in more:
            seen.update(text.encode() + b"\0")
        return seen.hexdigest()[:12]

    def tar(self) -> io.BytesIO:
        """The whole as a tar file."""
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            for name, (data, is_executable) in sorted(self._files.items()):
                entry = tarfile.TarInfo(name.rstrip("/"))
                entry.mtime = _TIME
                if name.endswith("/"):
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
                else:
                    entry.size, entry.mode = len(data), 0o755 if is_executable else 0o644
                    archive.addfile(entry, io.BytesIO(data))
        target.seek(0)
        return target


def wanted_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that belong in an image, in order."""
    ignore = folder / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    patterns = _NEVER + [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for name in sorted(docker.utils.build.exclude_paths(str(folder), patterns)):
        path = folder / name
        if path.is_file():
            yield path
