"""``parcs version``."""

from __future__ import annotations

import platform

from parcs.cli import output
from parcs.version import VERSION


def version(as_json: output.AsJson = False) -> None:
    """Print the versions of PARCS, its protocol and Python."""
    from parcs.wire.control import PROTOCOL

    python = platform.python_version()
    if as_json:
        output.print_json({"parcs": VERSION, "protocol": PROTOCOL, "python": python})
    else:
        print(f"PARCS {VERSION} (protocol {PROTOCOL}, Python {python})")
