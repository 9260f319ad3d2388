"""Lines of many points on one terminal: each prefixed with its point's name, in its point's colour."""

from __future__ import annotations

import os
import sys
import zlib
from typing import TextIO

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Console:
    """Where points' output goes.

    Args:
        all_to_stderr: keep standard output for the program's own result.
    """

    def __init__(self, *, all_to_stderr: bool = False) -> None:
        self._all_to_stderr = all_to_stderr
        self._width = 0

    def write(self, point: str, line: str, *, is_error: bool) -> None:
        """One line of one point."""
        stream = sys.stderr if is_error or self._all_to_stderr else sys.stdout
        self._width = max(self._width, min(len(point), 24))
        prefix = f"{point:<{self._width}} |"
        if use_colour(stream):
            colour = _COLOURS[zlib.crc32(point.encode()) % len(_COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            stream.write(f"{prefix} {line}\n")
            stream.flush()
        except (OSError, ValueError):
            return  # the terminal is gone, or closed at exit: nobody is left to read it


def use_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to ``stream``: a terminal, and NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and "NO_COLOR" not in os.environ
