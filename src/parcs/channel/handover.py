"""Giving one end of a channel to another point, while it is in use.

X holds a channel to Y and gives its end to Z, over a channel that X has to Z:

    X -> Y   moving, ticket T     nothing more comes from X
    Y -> X   moved                Y's last frame on the old connection
    X -> Z   channel, T, Y's address, and every frame of Y's that X had not received
    Z -> Y   dials, shows T       and the channel goes on, in order, nothing lost

Y notices at its next call, or at the keeper's next beat. If both ends are handed on at once, the end that
was dialled yields: it answers, waits for the new holder of the other end, and starts again with that one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from parcs import errors
from parcs.channel import base, sockets
from parcs.wire import control, header

if TYPE_CHECKING:
    from parcs.channel.tcp import TcpChannel
    from parcs.wire.reader import Frame

_PATIENCE_S = 30.0


def hand_on(end: base.Channel, via: TcpChannel) -> None:
    """Give ``end`` to whoever is at the other end of ``via``.

    Raises:
        EncodeError: this end or that receiver cannot take part (version 1, or the same channel).
        ChannelError: one of the two channels is over.
    """
    from parcs.channel.tcp import TcpChannel

    if not isinstance(end, TcpChannel) or end is via or 1 in (end.peer.version, via.peer.version):
        raise errors.EncodeError(
            "channel",
            "$",
            type(end).__qualname__,
            "only a channel of version 2 can be handed on, over another one",
        )
    ticket = os.urandom(16).hex()
    with end.receive_lock:
        end.is_moving = True
        end.transmit_control({"kind": "moving", "ticket": ticket})
        backlog = _backlog(end, ticket)
        peer, connection = end.peer, end.connection
        end.connection = None
    end.leave(errors.ChannelMovedError(f"the channel to {end.name} was handed on to {via.name}"))
    if connection is not None:
        sockets.settle(connection.sock, 0.0)
    offer = {
        "kind": "channel",
        "ticket": ticket,
        "dial": peer.listen,
        "name": peer.name,
        "backlog": len(backlog),
    }
    via.transmit_control(offer, backlog)


def _backlog(end: TcpChannel, ticket: str) -> list[Frame]:
    """Everything the peer sent before it let go, not yet received here."""
    backlog: list[Frame] = []
    while True:
        frame = end.next_raw(_PATIENCE_S)
        if frame is None:  # the peer's end is handed on too, and we yielded: again, with its new holder
            end.transmit_control({"kind": "moving", "ticket": ticket})
        elif frame.tag == header.CONTROL and control.parse(frame.body)["kind"] == "moved":
            return backlog
        else:
            backlog.append(frame)


def follow(channel: TcpChannel, ticket: str) -> None:
    """The peer hands its end on: let go of this connection, and wait for the new holder's call."""
    with channel.send_lock:
        connection = channel.connection
        if connection is None or (channel.is_moving and connection.dialed):
            return
        connection.sock.sendall(control.frame({"kind": "moved"}))
        channel.pending_ticket = ticket
        channel.connection = None
    sockets.settle(connection.sock, _PATIENCE_S)


def reconnect(channel: TcpChannel) -> None:
    """Wait for the call of the new holder of the other end.

    Raises:
        ChannelBrokenError: it never came.
    """
    try:
        channel.install(channel.home.claim_link(channel.pending_ticket))
    except errors.ChannelTimeoutError as error:
        raise errors.ChannelBrokenError(
            f"the other end of the channel to {channel.name} was handed on, and its new holder never called"
        ) from error


def take_over(via: TcpChannel, message: dict[str, Any]) -> TcpChannel:
    """Become the holder of an end that the peer of ``via`` hands on; called with its receive lock held."""
    if message["kind"] != "channel":
        raise errors.ProtocolError(f"{via.name} sent {message['kind']!r} where nothing was handed on")
    backlog = [frame for _ in range(int(message.get("backlog", 0))) if (frame := via.next_raw(_PATIENCE_S))]
    channel = via.home.open_link(str(message.get("dial")), str(message["ticket"]), str(message.get("name")))
    channel.inherit(backlog)
    return channel
