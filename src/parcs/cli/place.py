"""Which hub a command means: ``--hub``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from parcs import errors

if TYPE_CHECKING:
    from parcs.client import Hub

At = Annotated[
    str | None,
    typer.Option(
        "--hub",
        metavar="URL",
        help="The hub: its address, or several with commas between them.",
        show_default="PARCS_HUB, parcs login, or this machine's own",
    ),
]


def hub(url: str | None) -> Hub:
    """The hub meant.

    Raises:
        SettingsError: none is known, or what talks to it is not installed.
    """
    need("httpx2", "client")
    from parcs.client import Hub

    return Hub(url)


def need(module: str, extra: str) -> None:
    """Refuse in words where a library is not installed.

    Raises:
        SettingsError: so it is.
    """
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise errors.SettingsError(
            f"this needs {module}, which is not installed: {sys.executable} -m pip install 'parcs[{extra}]'"
        )
