"""A program's engine: asks an engine server for points, and takes their calls.

The points call this program back directly; over the server go requests, and news of what died.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from parcs import errors
from parcs.channel import Endpoint, waiting
from parcs.channel.tcp import TcpChannel
from parcs.contract import engine as contract
from parcs.engine.base import Engine
from parcs.engine.space import Summary
from parcs.model.lifecycle import Ending
from parcs.point import Point

logger = logging.getLogger("parcs")

_ANSWER_TIMEOUT_S = 60.0
_LAST_BYTES_S = 0.2
"""How long to wait for a point to take what it was sent, before it is ended anyway."""


class EngineClient:
    """A program's connection to its engine server."""

    def __init__(self, endpoint: Endpoint, address: str) -> None:
        self.endpoint, self.address = endpoint, address
        self._channel: TcpChannel | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._lost: errors.ParcsError | None = None
        self.endings: dict[str, Ending] = {}
        self.on_ended: Callable[[], None] = lambda: None
        endpoint.waits.on_change = self._tell_waiting

    def request(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            EngineError: the server refused; the message is its reason.
            EngineUnavailableError: there is no server there, or it is gone.
        """
        number = next(self._numbers)
        self._send({"id": number, "do": verb, **fields})
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._lost, _ANSWER_TIMEOUT_S)
            answer = self._answers.pop(number, None)
        if answer is None:
            raise self._lost or errors.EngineUnavailableError(
                f"the engine at {self.address} has not answered {verb!r} for {_ANSWER_TIMEOUT_S:g} s"
            )
        if "error" in answer:
            raise contract.error_from_json(answer["error"])
        answered: dict[str, Any] = answer["ok"]
        return answered

    def post(self, verb: str, **fields: Any) -> None:
        """Tell, and wait for nothing."""
        self._send({"do": verb, **fields})

    def ending_of(self, point: str, patience_s: float) -> Ending | None:
        """How a point ended, waiting a moment for the news; None if it has not."""
        with self._changed:
            self._changed.wait_for(lambda: point in self.endings or self._lost, patience_s)
            return self.endings.get(point)

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._open().send(message)
        except (errors.ChannelError, errors.HandshakeError) as error:
            raise errors.EngineUnavailableError(f"no engine at {self.address}: {error}") from error

    def _open(self) -> TcpChannel:
        with self._lock:
            if self._channel is None:
                self._channel = self.endpoint.dial(self.address, "engine", "", "engine")
                self._lost = None
                threading.Thread(
                    target=self._listen,
                    args=(self._channel,),
                    name=f"{waiting.OWN_THREAD}engine",
                    daemon=True,
                ).start()
            return self._channel

    def _listen(self, channel: TcpChannel) -> None:
        try:
            while True:
                self._take(channel.recv())
        except errors.ParcsError as error:
            with self._changed:
                self._lost = errors.EngineUnavailableError(f"the engine at {self.address} is gone: {error}")
                self._changed.notify_all()
            self.on_ended()

    def _take(self, message: Any) -> None:
        if "id" in message:
            with self._changed:
                self._answers[message["id"]] = message
                self._changed.notify_all()
        elif message.get("event") == "ended":
            with self._changed:
                self.endings[message["point"]] = Ending.from_json(message["ending"])
                self._changed.notify_all()
            self.on_ended()
        elif message.get("event") == "deadlock":
            self.endpoint.waits.judge(int(message["report"]), [str(name) for name in message["cycle"]])

    def _tell_waiting(self, number: int, waits: list[waiting.Wait]) -> None:
        channels = [[c.identity, c.peer.name, wait.sending] for wait in waits for c in wait.channels]
        counts = {
            c.identity: [c.sent, c.received] for c in self.endpoint.channels() if c.home is self.endpoint
        }
        try:
            self.post("waiting", report=number, channels=channels, counts=counts)
        except errors.EngineError as error:
            logger.debug("the engine was not told of a wait: %s", error)


class RemoteEngine(Engine):
    """The engine of a program that has an engine server, on this machine or anywhere.

    Args:
        endpoint: the program's end of its channels.
        client: its connection to the server.
        on_close: what else ends with this engine (its own server, if it has one).
        summary: the run in numbers, if this program is its own engine.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client: EngineClient,
        on_close: Callable[[], None] = lambda: None,
        summary: Callable[[], Summary] | None = None,
    ) -> None:
        self._endpoint, self.client, self._on_close, self.summary = endpoint, client, on_close, summary
        self._points: dict[str, Point] = {}
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def points(self) -> list[Point]:
        return list(self._points.values())

    def run_all(
        self,
        module: str,
        count: int,
        *,
        environment: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> list[Point]:
        if self._closed:
            raise errors.EngineError("this engine is closed; connect again")
        listener = self.endpoint.listener
        self.client.on_ended = listener.poke
        answer = self.client.request(
            "start",
            module=module,
            count=count,
            call=str(listener.address),
            environment=dict(environment or {}),
            resources=dict(resources or {}),
        )
        names = [str(name) for name in answer["points"]]
        deadline = time.monotonic() + (self.endpoint.settings.start_timeout_s if timeout is None else timeout)
        try:
            return [self._await_call(name, deadline) for name in names]
        except BaseException:
            self.client.post("stop", points=names)
            for name in names:
                point = self._points.pop(name, None)
                if point is not None:
                    point.channel.close()
            raise

    def _await_call(self, name: str, deadline: float) -> Point:
        def died() -> BaseException | None:
            ending = self.client.endings.get(name)
            return (
                errors.PointStartError(name, f"it never called back: {ending.describe()}") if ending else None
            )

        wait_s = max(deadline - time.monotonic(), 0.0)
        try:
            connection = self.endpoint.listener.claim(name, wait_s, died)
        except errors.ChannelTimeoutError:
            raise errors.PointStartError(
                name,
                f"it runs, and has not called back for {wait_s:.0f} s; does its program end in serve(...)? "
                "(PARCS_START_TIMEOUT gives slow programs more time)",
            ) from None
        point = Point(name, self.endpoint.adopt(connection, name, name), self)
        self._points[name] = point
        logger.info("Connection to %s established", name)
        return point

    def stop_points(self, points: list[Point]) -> None:
        """End points: close their channels, and have their processes ended."""
        names = []
        for point in points:
            if self._points.pop(str(point.name), None) is not None:
                names.append(str(point.name))
            point.channel.close(patience_s=_LAST_BYTES_S)
        if names:
            try:
                self.client.post("stop", points=names)
            except errors.EngineUnavailableError as error:
                logger.debug("the engine is gone, and its points with it: %s", error)

    def ending_of(self, point: str) -> Ending | None:
        """How a point ended, if it has; waits a moment for the news."""
        return self.client.ending_of(point, 2.0)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.stop_points(self.points)
        self.client.close()
        self._on_close()
