"""How a hub is set up: read once, at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from parcs import errors

_PREFIX: Final = "PARCS_HUB_"


@dataclass(frozen=True)
class HubSettings:
    """What a hub can be told, by its command line or by PARCS_HUB_… in the environment. Times are seconds."""

    database: str
    """``sqlite:///FILE``, or a PostgreSQL's DSN."""
    host: str = "127.0.0.1"
    port: int = 7000
    address: str = ""
    """Where others reach it; host and port if it is empty."""
    lease_s: float = 15.0
    """An executor that is silent for so long has lost its tasks."""
    heartbeat_s: float = 3.0
    request_bytes: int = 64 << 20
    """The largest request."""
    tasks_at_once: int = 200_000
    """The most tasks of one submission."""
    requests_per_s: float = 500.0
    """Of one user, on the average of some seconds; 0 is no limit."""
    keep_days: float = 90.0
    """How long tasks that are over are kept; 0 is for ever."""
    keep_tasks: int = 0
    """How many of them are kept; 0 is all."""
    khala_user: str = ""
    """Whom requests of Khala's clients, which show no token, act as; nobody if it is empty."""
    docker: str = ""
    """The Docker Engine of a Swarm's manager, for the cluster's pages: a URL or a context; none if it is empty."""
    registry: str = ""
    """Where the Swarm's modules are: ``HOST:PORT``."""
    session_days: float = 14.0
    """How long a login on the page holds."""

    @property
    def own_address(self) -> str:
        """Where this hub says that it is."""
        return self.address or f"http://{self.host}:{self.port}"


def from_environment(environment: Mapping[str, str], **given: object) -> HubSettings:
    """The settings: what was given, else the environment, else the default.

    Raises:
        SettingsError: a value makes no sense.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name, field in HubSettings.__dataclass_fields__.items():
        text = environment.get(_PREFIX + name.upper())
        if name in values or not text:
            continue
        kind = {"int": int, "float": float}.get(str(field.type), str)
        try:
            values[name] = kind(text)
        except ValueError:
            raise errors.SettingsError(f"{_PREFIX}{name.upper()}={text!r} is no {field.type}") from None
    return HubSettings(**values)  # type: ignore[arg-type]  # checked above
