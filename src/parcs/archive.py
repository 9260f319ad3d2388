"""Archives as sets of files: read with every check, written the same way whatever they came from.

Nothing here trusts an archive: not its paths, not the sizes that it claims, not its kinds of entries. A set of
files is a dictionary of paths (relative, with slashes) to `File`.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

from parcs import errors

MOST_BYTES: Final = 256 << 20
MOST_FILES: Final = 10_000
_LONGEST_PATH: Final = 1024
_CHUNK: Final = 1 << 20
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class File(NamedTuple):
    """A file's content, and whether it may be run."""

    data: bytes
    is_executable: bool = False


def read(data: bytes, most_bytes: int = MOST_BYTES) -> dict[str, File]:
    """The files of a zip or tar archive (compressed by gzip, bzip2 or xz, or not at all).

    Raises:
        ArchiveError: it is none, is damaged, has links, devices or paths that lead out, or unpacks to too much.
    """
    files: dict[str, File] = {}
    left = most_bytes
    try:
        for name, is_executable, size, source in _entries(data):
            path = checked_path(name)
            content = _read(source, left, path)
            if len(content) != size:
                raise errors.ArchiveError(f"the archive is damaged: {path!r} is shorter than it says")
            left -= len(content)
            files[path] = File(content, is_executable)
            if len(files) > MOST_FILES:
                raise errors.ArchiveError(f"the archive has more than {MOST_FILES} files")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise errors.ArchiveError(f"the archive is damaged: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise errors.ArchiveError(f"the archive cannot be read: {error}") from error  # encrypted, say
    _check_folders(files)
    return files


def checked_path(name: str) -> str:
    """A path as it is kept.

    Raises:
        ArchiveError: it leads out of its folder, or is no path.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or len(name) > _LONGEST_PATH or path.is_absolute() or ":" in path.parts[0]:
        raise errors.ArchiveError(f"{name[:100]!r} is no path inside a folder")
    parts = [part for part in path.parts if part != "."]
    if ".." in parts or not parts or any(len(part.encode(errors="replace")) > 255 for part in parts):
        raise errors.ArchiveError(f"{name[:100]!r} is no path inside a folder")
    try:
        "/".join(parts).encode()
    except UnicodeEncodeError as error:
        raise errors.ArchiveError(f"{name[:100]!r} is no path inside a folder") from error
    return "/".join(parts)


def of_texts(texts: Mapping[str, str]) -> dict[str, File]:
    """Texts as files; a script (its text begins with #!) may be run.

    Raises:
        ArchiveError: a path leads out of its folder, or a text is none.
    """
    try:
        files = {
            checked_path(path): File(text.encode(), text.startswith("#!")) for path, text in texts.items()
        }
    except UnicodeEncodeError as error:
        raise errors.ArchiveError(f"a file's text is no Unicode text: {error.reason}") from error
    _check_folders(files)
    return files


def of_folder(folder: Path) -> dict[str, File]:
    """All files below a folder, but hidden ones and Python's caches."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    files = {}
    for path in found:
        relative = path.relative_to(folder)
        if not any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            files[relative.as_posix()] = File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return files


def pack(files: Mapping[str, File]) -> bytes:
    """A zip archive: the same bytes for the same files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, file in sorted(files.items()):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.is_executable else 0o644) << 16
            archive.writestr(entry, file.data)
    return target.getvalue()


def digest(data: bytes) -> str:
    """What an archive is called."""
    return hashlib.sha256(data).hexdigest()


def unpack(data: bytes, folder: Path) -> None:
    """Write an archive's files below an empty folder.

    Raises:
        ArchiveError: as `read`.
        OSError: the disk is full, say.
    """
    made = {folder}
    for path, file in read(data).items():
        target = folder / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        target.write_bytes(file.data)
        if file.is_executable:
            target.chmod(0o755)


def _entries(data: bytes) -> Iterator[tuple[str, bool, int, IO[bytes]]]:
    """Name, whether it may be run, claimed size, and content of each file; folders are left out."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            for entry in zipped.infolist():
                mode = entry.external_attr >> 16
                if mode and (mode & 0o170000) not in (0, 0o100000, 0o040000):
                    raise errors.ArchiveError(f"{entry.filename[:100]!r} is a link or a device, and no file")
                if not entry.is_dir():
                    with zipped.open(entry) as source:
                        yield entry.filename, bool(mode & 0o100), entry.file_size, source
        return
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tarred:
        for member in tarred:
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise errors.ArchiveError(f"{member.name[:100]!r} is a link or a device, and no file")
            content = tarred.extractfile(member)
            if content is not None:
                yield member.name, bool(member.mode & 0o100), member.size, content


def _read(source: IO[bytes], most: int, path: str) -> bytes:
    """What is really there, whatever its header claims."""
    parts, size = [], 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > most:
            raise errors.ArchiveError(
                f"the archive unpacks to more than {MOST_BYTES >> 20} MiB (at {path!r})"
            )
        parts.append(chunk)
    return b"".join(parts)


def _check_folders(files: Mapping[str, File]) -> None:
    """No path may be a file and a folder."""
    folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents}
    if clash := folders & files.keys():
        raise errors.ArchiveError(f"{min(clash)!r} is a file and a folder")
