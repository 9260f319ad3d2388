"""Addresses as URLs: ``tcp://host:port``, and ``tls://host:port`` for an engine server seen from outside."""

from __future__ import annotations

from typing import Final, NamedTuple

from parcs import errors

SCHEMES: Final = ("tcp", "tls")


class Address(NamedTuple):
    """Where something listens. ``str()`` gives the URL."""

    host: str
    port: int
    scheme: str = "tcp"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse(text: str, what: str = "address") -> Address:
    """Read ``tcp://host:port`` or ``tls://host:port``.

    Raises:
        SettingsError: it is something else; ``what`` names it in the message.
    """
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in SCHEMES or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise errors.SettingsError(f"{what} is {text!r}; it should look like tcp://127.0.0.1:4321")
    return Address(host.strip("[]"), int(port), scheme)
