"""What a pool and its workers say to each other: pickled tuples, the first item names them.

To a worker:
    (SETUP, path, initializer, initargs)     once, first
    (WORK, {key: function}, [(id, key, args, kwargs), ...])    functions it has not been sent before
    (RECALL, count)                          give back up to ``count`` tasks not begun
From a worker:
    (DONE, [(id, ok, value), ...], seconds)  value is a `Failure` if not ok
    (RETURNED, [id, ...])                    the answer to RECALL
    (UNREAD, number, reason)                 the ``number``-th WORK could not be unpickled
    (BROKEN, Failure)                        the initializer failed
"""

from __future__ import annotations

import traceback
from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.channel.tcp import TcpChannel
from parcs.wire import codecs

SETUP: Final = 0
WORK: Final = 1
RECALL: Final = 2
DONE: Final = 3
RETURNED: Final = 4
UNREAD: Final = 5
BROKEN: Final = 6


class Failure(NamedTuple):
    """An exception on its way: itself if it can be pickled, and in words in any case."""

    error: BaseException | None
    type_name: str
    message: str
    trace: str

    def to_raise(self, worker: str) -> BaseException:
        """The exception as the caller gets it: its cause shows the worker's traceback."""
        remote = errors.RemoteError(worker, self.type_name, self.message, self.trace)
        if self.error is None:
            return remote
        self.error.__cause__ = remote
        return self.error


def failure(error: BaseException) -> Failure:
    """Pack an exception that a task raised."""
    trace = "".join(traceback.format_exception(error))
    packed = Failure(error, type(error).__qualname__, str(error), trace)
    try:
        encoded = codecs.encode_pickle(packed, by_value=True)
        codecs.decode_pickle(bytearray().join(encoded.parts))
    except (errors.EncodeError, errors.DecodeError):
        return packed._replace(error=None)  # such as one whose __init__ wants more than its args
    return packed


def send(channel: TcpChannel, message: tuple[Any, ...]) -> None:
    """Send one message.

    Raises:
        EncodeError: something in it cannot be pickled; nothing was sent.
    """
    channel.transmit(codecs.encode_pickle(message, by_value=True))
