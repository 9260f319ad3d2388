"""``parcs modules``."""

from __future__ import annotations

import os

from parcs.cli import output
from parcs.module import find


def modules(as_json: output.AsJson = False) -> None:
    """List the modules that can be named, and where they were found."""
    places = find.search_path(os.environ)
    found = list(find.modules(places))
    if as_json:
        output.print_json(
            [
                {
                    "name": m.name,
                    "description": m.description,
                    "language": m.language,
                    "folder": str(m.folder),
                    "has_runner": bool(m.runner),
                    "parameters": {
                        p.name: {"type": p.type, "default": p.default} for p in m.parameters.values()
                    },
                }
                for m in found
            ]
        )
        return
    if not found:
        print("no modules found; make one with: parcs new NAME. Searched:")
        print(*(f"  {place}" for place in places), sep="\n")
        return
    rows = [
        (m.name, m.language, ", ".join(m.parameters), m.description, _short(str(m.folder))) for m in found
    ]
    output.print_table(["module", "language", "parameters", "description", "folder"], rows)


def _short(folder: str) -> str:
    here = os.getcwd()
    return os.path.relpath(folder, here) if folder.startswith(here + os.sep) else folder
