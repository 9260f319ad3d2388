"""Where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """The folder; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parcs"
