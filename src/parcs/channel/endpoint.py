"""One program's end of all its channels: its name, its token, who may call it, and what it has open."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from parcs import errors
from parcs.channel import base, dialer, sockets, waiting
from parcs.channel.keeper import Keeper
from parcs.channel.listener import Listener
from parcs.channel.tcp import Connection, Home, TcpChannel
from parcs.contract.engine import Traffic
from parcs.model import address as addresses
from parcs.model.settings import Settings
from parcs.version import VERSION
from parcs.wire import control

_LINK_TIMEOUT_S = 30.0


def new_token() -> bytes:
    """A token for a new job: 32 random bytes as hexadecimal text, as it stands in PARCS_TOKEN."""
    return os.urandom(32).hex().encode()


class Endpoint:
    """A program in the control space.

    Args:
        name: its name there: a point's, or ``runner``.
        token: the job's token, which every call in or out must prove.
        host: the address this program listens on, once it has to.
        space: the control space's id, if it has one.

    Attributes:
        node: the machine it runs on, in a cluster.
        fingerprint: of the certificate of a ``tls://`` engine server.
        called_at: where others call it, if not where it listens: a relay.
    """

    def __init__(
        self, name: str, token: bytes, settings: Settings, host: str = "127.0.0.1", space: str = ""
    ) -> None:
        self.name, self.settings = name, settings
        self.token, self.space, self._host = token, space, host
        self.node = ""
        self.fingerprint = ""
        self.called_at = ""
        self.waits = waiting.WaitBoard()
        self.ledger = waiting.Ledger()
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self._channels: set[TcpChannel] = set()
        self._links: dict[str, TcpChannel | str] = {}
        self._backstage = Backstage(self)
        self._keeper = Keeper(self._beat)
        self.on_beat: list[Callable[[], None]] = []

    @property
    def listener(self) -> Listener:
        """Where this program is called; starts listening at the first use."""
        with self._lock:
            if self._listener is None:
                self._listener = Listener(
                    self._host, self.token, self.settings, lambda caller: self.hello(caller.role, "")
                )
            return self._listener

    def dial(self, address: str, role: str, ticket: str, name: str) -> TcpChannel:
        """Call another program.

        Args:
            role: what for: ``point``, ``engine`` or ``link``.
            ticket: what it waits for.
            name: what to call the other end.

        Raises:
            ChannelBrokenError, HandshakeError: it is not there, or not what it should be.
        """
        where = addresses.parse(address)
        connection = dialer.dial(
            where, self.token, self.hello(role, ticket), self.settings, self.space, self.fingerprint
        )
        name = name or connection.peer.name
        return self.adopt(connection, name, ticket, self._backstage if role in ("engine", "warm") else None)

    def adopt(self, connection: Connection, name: str, identity: str, home: Home | None = None) -> TcpChannel:
        """Make a channel of a greeted connection. ``identity`` is the same at both ends."""
        channel = TcpChannel(connection, name, identity, home or self)
        with self._lock:
            self._channels.add(channel)
        self._keeper.start()
        return channel

    def open_link(self, address: str, ticket: str, name: str) -> TcpChannel:
        """Call the peer of a direct channel that somebody else arranged."""
        return self.dial(address, "link", ticket, name)

    def claim_link(self, ticket: str) -> Connection:
        """Wait for the peer of a direct channel to call."""
        return self.listener.claim(ticket, _LINK_TIMEOUT_S)

    def on_attach(self, parent: TcpChannel, message: dict[str, Any]) -> None:
        """The creator arranged a direct channel to a sibling: dial it, or remember to expect its call."""
        name, ticket, address = (str(message.get(key) or "") for key in ("name", "ticket", "dial"))
        link = self.open_link(address, ticket, name) if address else ticket
        with self._lock:
            self._links[name] = link

    def link(self, name: str) -> TcpChannel | None:
        """The direct channel called ``name``, or None while it has not been arranged."""
        with self._lock:
            link = self._links.get(name)
        if isinstance(link, str):
            link = self.adopt(self.claim_link(link), name, link)
            with self._lock:
                self._links[name] = link
        return link

    @property
    def link_names(self) -> list[str]:
        """The names of the direct channels arranged so far."""
        with self._lock:
            return list(self._links)

    def channels(self) -> list[TcpChannel]:
        """What is open."""
        with self._lock:
            return list(self._channels)

    def forget(self, channel: TcpChannel) -> None:
        """A channel is over; what it carried still counts."""
        with self._lock:
            if channel in self._channels:
                self._channels.remove(channel)
                channel.home.ledger.past = channel.home.ledger.past.plus(channel.statistics)
                if self.node and channel.home is self:  # in a cluster it is told
                    self.ledger.closed.append(_traffic(channel, ""))

    @property
    def statistics(self) -> base.Statistics:
        """What all channels of this program have carried."""
        with self._lock:
            total = self.ledger.past
            for channel in self._channels:
                if channel.home is self:
                    total = total.plus(channel.statistics)
            return total

    def traffic(self) -> list[Traffic]:
        """What each channel of this program has carried, those that closed since the last time too."""
        blocked = self.waits.blocked()
        with self._lock:
            own = [channel for channel in self._channels if channel.home is self]
            closed = list(self.ledger.closed)
            self.ledger.closed.clear()
        return closed + [_traffic(channel, blocked.get(channel, "")) for channel in own]

    def close(self) -> None:
        """Close every channel, and stop listening."""
        self._keeper.close()
        for channel in self.channels():
            channel.close()
        with self._lock:
            if self._listener is not None:
                self._listener.close()

    def hello(self, role: str, ticket: str) -> control.Hello:
        """What this program says of itself."""
        listen = "" if role in ("engine", "line", "warm") else self.called_at or str(self.listener.address)
        return control.Hello(
            role=role,
            name=self.name,
            ticket=ticket,
            listen=listen,
            frame_limit=self.settings.frame_limit,
            keepalive_s=self.settings.keepalive_s,
            parcs=VERSION,
            language_version=".".join(map(str, sys.version_info[:3])),
            node=self.node,
        )

    def _beat(self) -> bool:
        """One beat for all; whether the next may be late: all wait for messages, and have for some time."""
        channels = self.channels()
        for channel in channels:
            try:
                channel.beat()
            except errors.ParcsError:
                continue  # the channel keeps its failure for its user
        for duty in self.on_beat:
            duty()
        interval = self.settings.keepalive_s
        may_be_late = not interval or interval >= 2 * sockets.CALM_TICK_S
        return may_be_late and all(channel.is_calm for channel in channels)


def _traffic(channel: TcpChannel, waits: str) -> Traffic:
    carried = channel.statistics
    return Traffic(
        channel.identity, channel.peer.name, carried.messages_sent, carried.messages_received,
        carried.bytes_sent, carried.bytes_received, waits,
    )  # fmt: skip


class Backstage:
    """The home of a program's channel to its engine server: kept alive like the others, but what it
    carries is no user's message, and waiting on it is no wait of the user's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name, self.settings = endpoint.name, endpoint.settings
        self.waits = waiting.WaitBoard()
        self.ledger = waiting.Ledger()
        self.forget = endpoint.forget

    def on_attach(self, parent: TcpChannel, message: dict[str, Any]) -> None:
        raise errors.ProtocolError("an engine server arranges no channels")

    def claim_link(self, ticket: str) -> Connection:
        raise errors.ChannelBrokenError("the channel to an engine server cannot be handed on")

    def open_link(self, address: str, ticket: str, name: str) -> TcpChannel:
        raise errors.ProtocolError("an engine server hands no channels on")


def accept_original(host: str, port: int, endpoint: Endpoint) -> tuple[TcpChannel, str]:
    """Listen as version 1 does and wait for the one runner; returns its channel and IP address."""
    with socket.create_server((host, port)) as server:
        connection, ip = dialer.accept_v1(server, endpoint.settings)
    return endpoint.adopt(connection, ip, ip), ip


def dial_original(address: str, endpoint: Endpoint) -> TcpChannel:
    """Call a point of the original PARCS at ``tcp://host:4444``."""
    where = addresses.parse(address)
    return endpoint.adopt(dialer.dial_v1(where, endpoint.settings), where.host, address)
