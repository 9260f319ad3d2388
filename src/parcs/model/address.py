"""Addresses as URLs: ``tcp://host:port``."""

from __future__ import annotations

from typing import NamedTuple

from parcs import errors


class Address(NamedTuple):
    """Where something listens. ``str()`` gives the URL."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse(text: str, what: str = "address") -> Address:
    """Read ``tcp://host:port``.

    Raises:
        SettingsError: it is something else; ``what`` names it in the message.
    """
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise errors.SettingsError(f"{what} is {text!r}; it should look like tcp://127.0.0.1:4321")
    return Address(host.strip("[]"), int(port))
