"""The test program of the Python SDK: ``python -m parcs.testing.conformance.program``. The text is docs/sdk.md.

As a point it does what its creator asks; as a runner (CONFORMANCE_MODULE is set) it asks the same of points of that
module, and its result is a list of [what was tried, what went wrong].
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from parcs import errors
from parcs.channel import Channel
from parcs.server import Runner, Service, serve

MODULE = "CONFORMANCE_MODULE"
VALUES: list[Any] = [None, True, 42, -1.5, "Київ", [], [1, [2, {"a": None}]], {"k": "v"}, 2**70]


class Program(Service):
    """The point's role."""

    def run(self) -> None:
        while True:
            verb, *words = self.recv()
            if verb == "end":
                return
            getattr(self, f"do_{verb}")(*words)

    def do_echo(self, count: int) -> None:
        for _ in range(count):
            message = self.recv()
            codec = "raw" if isinstance(message, bytearray) else "msgpack" if has_bytes(message) else "json"
            self.send(message, codec)

    def do_sum(self, count: int) -> None:
        self.send(sum(self.recv() for _ in range(count)))

    def do_sink(self, count: int) -> None:
        self.send(sum(len(self.recv()) for _ in range(count)))

    def do_source(self, count: int, size: int) -> None:
        for _ in range(count):
            self.send(bytes(size))

    def do_fail(self, text: str) -> None:
        raise ValueError(text)

    def do_peer(self, name: str, count: int) -> None:
        self.send(exchange(self.peer(name), count))

    def do_variable(self, name: str) -> None:
        self.send(os.environ.get(name, ""))


def has_bytes(value: Any) -> bool:
    """Whether only MessagePack could have carried a value."""
    if isinstance(value, dict):
        return any(map(has_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(has_bytes, value)))


def exchange(channel: Channel, count: int) -> int:
    """Send 0, 1, … to a sibling, and give the sum of what it sends."""
    for i in range(count):
        channel.send(i)
    return sum(channel.recv() for _ in range(count))


class Driver(Runner):
    """The runner's role."""

    def run(self) -> list[list[str]]:
        module = os.environ[MODULE]
        tried = (self._values, self._many, self._failure, self._siblings, self._variables, self._unknown)
        return [[method.__name__.strip("_"), _attempt(method, module)] for method in tried]

    def _values(self, module: str) -> None:
        with self.engine.run(module) as point:
            point.send(["echo", len(VALUES) + 1])
            for value in [*VALUES, b"raw bytes"]:
                point.send(value)
                got = point.recv(timeout=20)
                assert got == value, f"{value!r} came back as {got!r}"
            point.send(["end"])

    def _many(self, module: str) -> None:
        points = self.engine.run_all(module, 3)
        for point in points:
            point.send(["sum", 1000])
            for i in range(1000):
                point.send(i)
        assert [point.recv(timeout=20) for point in points] == [499500] * 3
        for point in points:
            point.shutdown()

    def _failure(self, module: str) -> None:
        with self.engine.run(module) as point:
            point.send(["fail", "on purpose"])
            try:
                point.recv(timeout=20)
            except errors.RemoteError as error:
                assert "on purpose" in str(error), str(error)
            else:
                raise AssertionError("no error came")

    def _siblings(self, module: str) -> None:
        left, right = self.engine.run_all(module, 2)
        left.link(right, "right", "left")
        left.send(["peer", "right", 100])
        right.send(["peer", "left", 100])
        assert (left.recv(timeout=20), right.recv(timeout=20)) == (4950, 4950)

    def _variables(self, module: str) -> None:
        with self.engine.run(module, environment={"COLOUR": "blue"}) as point:
            point.send(["variable", "COLOUR"])
            assert point.recv(timeout=20) == "blue"

    def _unknown(self, module: str) -> None:
        try:
            self.engine.run("no-such-module")
        except errors.ParcsError:
            return
        raise AssertionError("a module that does not exist was started")


def _attempt(method: Callable[[str], None], module: str) -> str:
    try:
        method(module)
    except (AssertionError, errors.ParcsError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    serve(Driver() if MODULE in os.environ and "PARCS_CALL" not in os.environ else Program())
