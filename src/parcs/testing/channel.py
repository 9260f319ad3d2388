"""What every channel must do: the contract of `parcs.channel.base`, as checks.

check_channel(make)    where make() gives the two ends of a new channel with a limit of LIMIT bytes
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from parcs import errors
from parcs.channel import Channel

LIMIT: Final = 4 << 20

Make = Callable[[], tuple[Channel, Channel]]

_VALUES: Final[list[Any]] = [
    None,
    True,
    -1,
    2**80,
    0.25,
    "",
    "Київ",
    [],
    [1, [2, {"a": None}]],
    {"k": {"": 0}},
]


def check_channel(make: Make) -> None:
    """Run every check on channels of its own.

    Raises:
        AssertionError: a check failed; the message begins with its name.
    """
    for check in CHECKS:
        left, right = make()
        try:
            check(left, right)
        except (AssertionError, errors.ParcsError) as error:
            raise AssertionError(f"{check.__name__}: {error!r}") from error
        finally:
            left.close()
            right.close()


def _expect(error: type[BaseException], call: Callable[[], object]) -> None:
    try:
        got = call()
    except error:
        return
    raise AssertionError(f"{error.__name__} should have been raised, got {got!r}")


def values_arrive_unchanged_and_in_order(left: Channel, right: Channel) -> None:
    left.send_all(*_VALUES)
    right.send_all(*reversed(_VALUES))
    assert [right.recv(5) for _ in _VALUES] == _VALUES
    assert [left.recv(5) for _ in _VALUES] == _VALUES[::-1]


def bytes_arrive_as_a_bytearray(left: Channel, right: Channel) -> None:
    for size in (0, 1, 65528, 65536, 65537, LIMIT):
        data = bytes(range(256)) * (size // 256 + 1)
        sender = threading.Thread(target=left.send, args=(memoryview(data)[:size],))
        sender.start()
        got = right.recv(10)
        sender.join()
        assert type(got) is bytearray and got == data[:size], f"{size} bytes"


def every_codec_can_be_named(left: Channel, right: Channel) -> None:
    left.send([b"in", 1], codec="msgpack")
    left.send({1, 2}, codec="pickle")
    left.codec = "pickle"
    left.send((1, 2))
    assert [right.recv(5), right.recv(5), right.recv(5)] == [[b"in", 1], {1, 2}, (1, 2)]
    _expect(errors.SettingsError, lambda: left.send(1, codec="morse"))


def a_timeout_leaves_the_channel_usable(left: Channel, right: Channel) -> None:
    _expect(errors.ChannelTimeoutError, lambda: right.recv(0.02))
    _expect(TimeoutError, lambda: right.recv(0))
    left.send("late")
    assert right.recv(5) == "late"


def what_cannot_be_encoded_leaves_the_channel_usable(left: Channel, right: Channel) -> None:
    try:
        left.send({"a": [1, {2}]})
    except errors.EncodeError as error:
        assert (error.path, error.type_name) == ("$.a[1]", "set")
    else:
        raise AssertionError("EncodeError should have been raised")
    left.send("after")
    assert right.recv(5) == "after"


def a_message_over_the_limit_leaves_the_channel_usable(left: Channel, right: Channel) -> None:
    _expect(errors.FrameTooLargeError, lambda: left.send(bytes(LIMIT + 1)))
    left.send("after")
    assert right.recv(5) == "after"


def poll_says_whether_recv_would_return(left: Channel, right: Channel) -> None:
    assert not right.poll()
    left.send(1)
    _until(right.poll)
    assert right.recv(0) == 1
    assert not right.poll()
    left.close()
    _until(right.poll)
    _expect(errors.EndOfChannelError, lambda: right.recv(0))


def what_was_sent_before_closing_arrives(left: Channel, right: Channel) -> None:
    left.send_all(1, 2)
    left.close()
    assert [right.recv(5), right.recv(5)] == [1, 2]
    _expect(errors.EndOfChannelError, lambda: right.recv(5))
    _expect(errors.EndOfChannelError, lambda: right.recv(5))


def a_closed_end_says_so(left: Channel, right: Channel) -> None:
    left.close()
    left.close()
    _expect(errors.ChannelClosedError, lambda: left.send(1))
    _expect(errors.ChannelClosedError, lambda: left.recv(1))


def statistics_count_both_directions(left: Channel, right: Channel) -> None:
    left.send_all([1], b"abc")
    right.recv(5)
    right.recv(5)
    sent, received = left.statistics, right.statistics
    assert (sent.messages_sent, sent.bytes_sent, sent.messages_received) == (2, 6, 0)
    assert (received.messages_received, received.bytes_received, received.messages_sent) == (2, 6, 0)


def two_threads_may_send_at_once(left: Channel, right: Channel) -> None:
    def send(mark: int) -> None:
        for _ in range(200):
            left.send([mark] * 500)

    threads = [threading.Thread(target=send, args=(mark,)) for mark in range(3)]
    for thread in threads:
        thread.start()
    got = [right.recv(10) for _ in range(600)]
    for thread in threads:
        thread.join()
    assert all(len(set(message)) == 1 for message in got), "messages were mixed up"


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never became true")


CHECKS: Final[list[Callable[[Channel, Channel], None]]] = [
    values_arrive_unchanged_and_in_order,
    bytes_arrive_as_a_bytearray,
    every_codec_can_be_named,
    a_timeout_leaves_the_channel_usable,
    what_cannot_be_encoded_leaves_the_channel_usable,
    a_message_over_the_limit_leaves_the_channel_usable,
    poll_says_whether_recv_would_return,
    what_was_sent_before_closing_arrives,
    a_closed_end_says_so,
    statistics_count_both_directions,
    two_threads_may_send_at_once,
]
