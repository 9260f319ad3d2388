"""Where the hub is, and the token for it.

--hub URL[,URL...]        or PARCS_HUB: its addresses, any of which will do
PARCS_HUB_TOKEN           the token; or PARCS_HUB_TOKEN_FILE, a file with it
parcs login URL           keeps both in ~/.config/parcs/hub.json
parcs up                  on this machine: needs nothing of all that
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from parcs import errors

HUB_VARIABLE: Final = "PARCS_HUB"
TOKEN_VARIABLE: Final = "PARCS_HUB_TOKEN"  # noqa: S105  # a variable's name
FILE: Final = "hub.json"


class Place(NamedTuple):
    """A hub's addresses, and the token for it."""

    urls: tuple[str, ...]
    token: str


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a hub of this machine keeps its database and the tokens for itself."""
    home = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(environment.get("PARCS_HOME") or Path(home) / "parcs")


def config_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where ``parcs login`` keeps what it is told."""
    home = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "parcs" / FILE


def find(
    url: str | None = None, token: str | None = None, environment: Mapping[str, str] = os.environ
) -> Place:
    """The hub that is meant, by what was given, the environment, ``parcs login``, or ``parcs up``.

    Raises:
        SettingsError: none is.
    """
    urls = url or environment.get(HUB_VARIABLE) or ""
    secret = token or environment.get(TOKEN_VARIABLE) or from_file(f"{TOKEN_VARIABLE}_FILE", environment)
    if urls and secret:
        return Place(split(urls), secret)
    for file in (config_file(environment), data_folder(environment) / FILE):
        kept = read(file)
        if kept is not None and (not urls or set(split(urls)) & set(kept.urls)):
            return Place(split(urls) if urls else kept.urls, secret or kept.token)
    if urls:
        raise errors.SettingsError(
            f"no token for the hub at {urls}; set {TOKEN_VARIABLE}, or keep one with: parcs login {urls}"
        )
    raise errors.SettingsError(
        "no hub is known here; start one with: parcs up. "
        f"Or name one: --hub URL, {HUB_VARIABLE}, or parcs login URL"
    )


def split(urls: str) -> tuple[str, ...]:
    """Addresses that were given together.

    Raises:
        SettingsError: one of them is none.
    """
    found = tuple(url.strip().rstrip("/") for url in urls.split(",") if url.strip())
    for url in found:
        if not url.startswith(("http://", "https://")) or len(url.split("//", 1)[1]) == 0:
            raise errors.SettingsError(f"{url!r} is no hub's address; for example http://host:7000")
    return found


def read(file: Path) -> Place | None:
    """What a file says; None if there is none."""
    try:
        kept = json.loads(file.read_text())
        return Place(tuple(kept["urls"]), kept["token"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.SettingsError(f"{file} is damaged ({error}); remove it, and log in again") from error


def write(file: Path, place: Place, **more: str) -> None:
    """Keep it, for this user's eyes only."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as target:
        json.dump({"urls": list(place.urls), "token": place.token, **more}, target)
    part.rename(file)


def from_file(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """What is in the file that a variable names; empty if it names none.

    Raises:
        SettingsError: the file cannot be read.
    """
    path = environment.get(variable)
    try:
        return Path(path).read_text().strip() if path else ""
    except OSError as error:
        raise errors.SettingsError(f"{variable}: {error}") from error
