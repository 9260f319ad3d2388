"""Statements about the hubs of one database: each says that it is there, and sees who else is."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from parcs.contract import tasks as contract
from parcs.hub.store import schema

_h: Final = schema.hubs


def beat(connection: sa.Connection, hub: contract.HubSeen) -> None:
    """A hub is there."""
    values = {"address": hub.address, "version": hub.version, "last_seen": hub.last_seen}
    if not connection.execute(sa.update(_h).where(_h.c.id == hub.id).values(values)).rowcount:
        connection.execute(sa.insert(_h).values(id=hub.id, started=hub.started, **values))


def leave(connection: sa.Connection, id_: str) -> None:
    """A hub ends as it should."""
    connection.execute(sa.delete(_h).where(_h.c.id == id_))


def list_all(connection: sa.Connection) -> list[contract.HubSeen]:
    """Every hub, the oldest first."""
    rows = connection.execute(sa.select(_h).order_by(_h.c.started, _h.c.id))
    return [contract.HubSeen(r.id, r.address, r.version, r.started, r.last_seen) for r in rows]


def forget(connection: sa.Connection, before: float) -> None:
    """Delete those that have been silent for long."""
    connection.execute(sa.delete(_h).where(_h.c.last_seen < before))
