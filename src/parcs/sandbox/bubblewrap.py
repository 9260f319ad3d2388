"""The level ``bubblewrap``: a read-only system, processes and a network of its own, one folder to write in.

bubblewrap needs no privilege where the kernel lets users make namespaces, and no daemon anywhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_SYSTEM: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/sys/devices/system/cpu",
)
HOME: Final = "/task"
"""Where the task's folder is, as the task sees it."""
_NOBODY: Final = 65534


def give(folder: Path) -> None:
    """Make a folder the task's own, where this process is root and the task will be nobody."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)


def words(folder: str, *, network: bool) -> list[str]:
    """What stands before a command for it to run so.

    Args:
        folder: the task's, the only one that it may write in.
    """
    shared = [word for path in _SYSTEM if os.path.exists(path) for word in _bound(path)]
    # As root's its files would be readable in there too: so it is nobody's from the beginning.
    dropped = (
        ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    )
    return [
        *dropped, "bwrap", "--unshare-all", *(["--share-net"] if network else []), "--die-with-parent",
        "--new-session", "--unshare-user", "--uid", f"{_NOBODY}", "--gid", f"{_NOBODY}",
        "--hostname", "task", "--cap-drop", "ALL",
        *shared, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run",  # noqa: S108  # the task's own
        "--bind", folder, HOME, "--chdir", HOME, "--setenv", "HOME", HOME, "--setenv", "PWD", HOME, "--",
    ]  # fmt: skip


def _bound(path: str) -> list[str]:
    """A folder of the system as it is there: a folder, or a link to one."""
    source = Path(path)
    if source.is_symlink():
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path]
