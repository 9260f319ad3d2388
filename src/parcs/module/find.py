"""From a name to a module.

A name with a folder behind it is a path. Any other is looked for along the search path: as a folder of
that name, then as a module whose manifest has that ``name`` or ``image`` (so that a program which names an
image of the original, ``lionell/parcs-py-factor``, finds its local form).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from parcs import errors
from parcs.module import manifest

BUILT_IN = Path(__file__).parent / "built_in"


def search_path(environment: Mapping[str, str], *beside: Path) -> list[Path]:
    """Where modules are looked for: PARCS_PATH, around the program, here, then the user's own.

    Args:
        beside: folders of modules that are running; their neighbours are found by name.
    """
    places = [Path(text) for text in environment.get("PARCS_PATH", "").split(os.pathsep) if text]
    for folder in beside:
        places += [folder, folder.parent]
    here = Path.cwd()
    home = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    places += [here, here / "modules", here / "examples", home / "parcs" / "modules", BUILT_IN]
    return list(dict.fromkeys(place.resolve() for place in places))


def find(name: str, places: Sequence[Path]) -> manifest.Module:
    """The module of that name.

    Raises:
        UnknownModuleError: there is none; the message has the nearest names and the places searched.
        ManifestError: its manifest is wrong.
    """
    if name.startswith((".", "/", "~")):
        return manifest.load(Path(name).expanduser())
    for place in places:
        folder = place / name
        if (folder / manifest.FILE_NAME).is_file():
            return manifest.load(folder)
    bare = name.partition("@")[0].rpartition(":")[0] or name
    for module in modules(places):
        if name in (module.name, module.image) or (module.image and bare == module.image):
            return module
    known = sorted({module.name for module in modules(places)})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}."
    raise errors.UnknownModuleError(
        f"no module named {name!r}; {hint} Searched: {', '.join(str(place) for place in places)} "
        "(add folders with PARCS_PATH; make a module with: parcs new NAME)"
    )


def modules(places: Sequence[Path]) -> Iterator[manifest.Module]:
    """Every module along the search path, the first of each name; bad manifests are left out."""
    seen: set[str] = set()
    for place in places:
        for path in sorted(_manifests(place)):
            try:
                module = manifest.load(path.parent)
            except errors.ManifestError:
                continue
            if module.name not in seen:
                seen.add(module.name)
                yield module


def _manifests(place: Path) -> list[Path]:
    try:
        return [
            p / manifest.FILE_NAME for p in [place, *place.iterdir()] if (p / manifest.FILE_NAME).is_file()
        ]
    except OSError:
        return []  # a place of the search path that does not exist, or is not ours to read
