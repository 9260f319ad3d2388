"""Channels: ordered streams of messages between two programs.

base      the contract, and the words for what a channel is and has carried
memory    both ends in one process: the contract's plainest implementation, for tests
tcp       over one TCP connection, version 1 or 2
sockets   options and facts of a TCP socket that the rest need
handover  giving one end of a channel to another point, while it is in use
listener  where calls come in: greets many at once, keeps who proved the token
dialer    calling out, version 1 or 2
waiting   which threads wait for what: timeouts, silence, deadlock
keeper    the background beat: signs of life, what arrives while nobody receives
endpoint  one program's end of all its channels; puts the others together
"""

from parcs.channel.base import Channel
from parcs.channel.endpoint import Endpoint, new_token
from parcs.channel.waiting import wait_any

__all__ = ["Channel", "Endpoint", "new_token", "wait_any"]
