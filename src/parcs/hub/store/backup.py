"""A hub's SQLite database as one file, and back. A PostgreSQL has its own tools for that (docs/ha.md)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from parcs import errors


def save(database: Path, target: Path) -> int:
    """Copy a database, also of a hub that runs, as it is at one moment; gives its tasks' number.

    Raises:
        SettingsError: there is no such database, or the target is there already or cannot be written.
    """
    if not database.is_file():
        raise errors.SettingsError(f"{database} is not there; --data names the hub's folder")
    if target.exists():
        raise errors.SettingsError(f"{target} is there already; name another file")
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))  # it has what tasks wrote
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        count = check(part)
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise errors.SettingsError(f"cannot save {database} to {target}: {error}") from error
    return count


def restore(source: Path, database: Path) -> int:
    """Put a saved database in a place where there is none; gives its tasks' number.

    Raises:
        SettingsError: it is damaged, or is no hub's, or there is a database already.
    """
    if not source.is_file():
        raise errors.SettingsError(f"{source} is not there")
    if database.exists():
        raise errors.SettingsError(f"there is a database already: {database}; move it away first")
    count = check(source)
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = database.with_name(f"{database.name}.part")
    with (
        contextlib.closing(sqlite3.connect(source)) as saved,
        contextlib.closing(sqlite3.connect(part)) as copy,
    ):
        saved.backup(copy)
    part.rename(database)
    return count


def check(file: Path) -> int:
    """Whether a file is a hub's database, and whole; gives its tasks' number.

    Raises:
        SettingsError: it is not.
    """
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            if said != "ok":
                raise errors.SettingsError(f"{file} is damaged: {said}")
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM tasks").fetchone()
    except sqlite3.Error as error:
        raise errors.SettingsError(f"{file} is no hub's database: {error}") from error
    return int(count)
