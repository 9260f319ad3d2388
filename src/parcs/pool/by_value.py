"""Modules of the user's own go to a cluster's workers by value: they are not installed there.

cloudpickle sends a function of an importable module by name. On this machine's workers that is right, for they
import it from the same files; elsewhere only what is installed in the image can be imported.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import ModuleType


class OwnModules:
    """Finds modules that were imported from the user's own folders, and has them sent whole."""

    def __init__(self) -> None:
        paths = sysconfig.get_paths()
        self._installed = tuple(
            str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
        )
        self._seen: set[str] = set()
        self._count = 0

    def register(self) -> None:
        """Look at modules imported since the last time."""
        if len(sys.modules) == self._count:
            return
        self._count = len(sys.modules)
        for name, module in list(sys.modules.items()):
            if name not in self._seen:
                self._seen.add(name)
                if self._is_own(name, module):
                    import cloudpickle

                    cloudpickle.register_pickle_by_value(module)

    def _is_own(self, name: str, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        if not file or name == "__main__" or name.partition(".")[0] == "parcs":
            return False
        path = str(Path(file).resolve())
        return not path.startswith(self._installed) and "site-packages" not in path
