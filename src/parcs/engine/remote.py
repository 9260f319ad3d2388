"""A program's engine where an engine server is asked for points: starts them, and takes their calls.

The points call this program back directly, or through the server's relay where they cannot reach it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from parcs import errors
from parcs.channel import Endpoint
from parcs.channel.endpoint import dial_original
from parcs.channel.sockets import TICK_S as _TICK_S
from parcs.channel.tcp import TcpChannel
from parcs.engine.base import Engine
from parcs.engine.client import EngineClient
from parcs.engine.space import Summary
from parcs.model import settings as options
from parcs.model.lifecycle import Ending
from parcs.point import Point

if TYPE_CHECKING:
    from parcs.channel.lines import Lines

logger = logging.getLogger("parcs")

_ORIGINAL_PORT = 4444
_LAST_BYTES_S = 0.2
"""How long to wait for a point to take what it was sent, before it is ended anyway."""


class RemoteEngine(Engine):
    """The engine of a program that has an engine server, on this machine or anywhere.

    Args:
        endpoint: the program's end of its channels.
        client: its connection to the server.
        on_close: what else ends with this engine (its own server, if it has one).
        summary: the run in numbers, if this program is its own engine.
        lines: to the relay, if the points cannot call this program themselves.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client: EngineClient,
        on_close: Callable[[], None] = lambda: None,
        summary: Callable[[], Summary] | None = None,
        lines: Lines | None = None,
    ) -> None:
        self._endpoint, self.client, self._on_close, self.summary = endpoint, client, on_close, summary
        self._points: dict[str, Point] = {}
        self._lines = lines
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def is_here(self) -> bool:
        return self.client.is_here

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
        if self._lines is not None:
            self._lines.have(count)
        answer = self.client.request(
            "start",
            module=module,
            count=count,
            call="relay" if self._lines is not None else str(listener.address),
            environment={**self._own_settings(), **(environment or {})},
            resources=dict(resources or {}),
            key=os.urandom(8).hex(),
        )
        names = [str(name) for name in answer["points"]]
        patience_s = self.endpoint.settings.start_timeout_s if timeout is None else timeout
        begin = time.monotonic()
        try:
            if answer.get("protocol") == 1:
                if self._lines is not None:
                    raise errors.EngineError(
                        f"{module} is an image of the original, which has to be called; a runner outside the "
                        "cluster cannot do that: run it inside, with parcs run ... --on swarm"
                    )
                return [self._call_original(name, patience_s) for name in names]
            points = self._await_calls(names, begin, patience_s)
            if not self.client.is_here:
                self.client.post("called", points=names)
            return points
        except BaseException:
            self.client.post("stop", points=names)
            for name in names:
                point = self._points.pop(name, None)
                if point is not None:
                    point.channel.close()
            raise

    def _own_settings(self) -> dict[str, str]:
        """What a cluster's points are told of this program's settings; here they inherit all of it anyway."""
        if self.is_here:
            return {}
        return options.passed_on(os.environ)

    def warm(self, module: str, count: int) -> None:
        self.client.request("warm", module=module, count=count)
        if self._lines is not None:
            self._lines.have(count)

    def _await_calls(self, names: list[str], begin: float, patience_s: float) -> list[Point]:
        """Wait for the points' calls, in whatever order they come.

        Each channel is opened at once: the first points must hear signs of life while the last ones start.
        """
        pending, points = set(names), {}
        while pending:
            try:
                name, connection = self.endpoint.listener.claim_any(
                    pending, _TICK_S, lambda: self._first_death(pending)
                )
            except errors.ChannelTimeoutError:
                self._check_patience(pending, begin, patience_s)
            else:
                pending.discard(name)
                points[name] = self._make(name, self.endpoint.adopt(connection, name, name))
        return [points[name] for name in names]

    def _first_death(self, pending: set[str]) -> BaseException | None:
        return next((self._never_called(name) for name in pending & self.client.endings.keys()), None)

    def _check_patience(self, pending: set[str], begin: float, patience_s: float) -> None:
        """In a cluster, the time a point has for its call begins when its container runs.

        Raises:
            PointStartError: one of them has had its time.
        """
        now = time.monotonic()
        for name in pending:
            began = self._began(name, begin)
            if began is not None and now - began > patience_s:
                raise errors.PointStartError(
                    name,
                    f"it runs{_on(self.client.nodes.get(name, ''))}, and has not called back for {patience_s:g} s; "
                    "does its program end in serve(...)? (PARCS_START_TIMEOUT gives slow programs more time)",
                )

    def _began(self, name: str, begin: float) -> float | None:
        """Since when the point has been able to call; None while its container does not run yet."""
        return begin if self.client.is_here else self.client.running.get(name, (None,))[0]

    def _never_called(self, name: str) -> BaseException | None:
        ending = self.client.endings.get(name)
        if ending is None:
            return None
        if ending.cause == "no-room":
            return errors.NoRoomError(f"{name}: {ending.describe()}")
        return errors.PointStartError(name, f"it never called back: {ending.describe()}")

    def _call_original(self, name: str, patience_s: float) -> Point:
        """A version 1 point listens: call it as soon as its container runs, and again until it answers."""
        deadline = time.monotonic() + patience_s
        while name not in self.client.running:
            if (error := self._never_called(name)) is not None:
                raise error
            self.client.wait_for_news(_TICK_S)
        _, host = self.client.running[name]
        pause = 0.02
        while True:
            try:
                channel = dial_original(f"tcp://{host}:{_ORIGINAL_PORT}", self.endpoint)
                channel.name = name
                return self._make(name, channel)
            except (errors.ChannelBrokenError, errors.HandshakeError) as failure:
                if (error := self._never_called(name)) is not None:
                    raise error from None
                if time.monotonic() > deadline:
                    raise errors.PointStartError(
                        name,
                        f"its image knows nothing of PARCS, so it was called as the original's points are, and "
                        f"does not answer on port {_ORIGINAL_PORT}: {failure}",
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, 0.5)

    def _make(self, name: str, channel: TcpChannel) -> Point:
        point = Point(name, channel, self)
        self._points[name] = point
        logger.info("Connection to %s established", name)
        return point

    def node_of(self, point: str) -> str:
        """The machine a point runs on, in a cluster; empty if it is this one, or not known."""
        return self.client.nodes.get(point, "")

    def report_lost(self, point: str) -> None:
        """Tell the engine that a point's machine does not answer, so that it uses others meanwhile."""
        try:
            self.client.post("lost", point=point)
        except errors.EngineError as error:
            logger.debug("the engine was not told that %s is lost: %s", point, error)

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


def _on(node: str) -> str:
    return f" on {node}" if node else ""
