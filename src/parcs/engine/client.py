"""A program's engine: asks an engine server for points, and takes their calls.

The points call this program back directly; over the server go requests, and news of what died.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from parcs import errors
from parcs.channel import Endpoint, waiting
from parcs.channel.tcp import TcpChannel
from parcs.contract import engine as contract
from parcs.model import address as addresses
from parcs.model.lifecycle import Ending

if TYPE_CHECKING:
    pass

logger = logging.getLogger("parcs")

_ANSWER_TIMEOUT_S = 60.0
_SLOW_ANSWER_S = 900.0
"""A cluster may have to fetch a large image first."""
_PATIENCE_S = 90.0
_RETRY_S = 0.3
_SYNC = "sync"
_ORIGINAL_PORT = 4444
_LAST_BYTES_S = 0.2
"""How long to wait for a point to take what it was sent, before it is ended anyway."""


class EngineClient:
    """A program's connection to its engine server.

    A server on this machine that is gone is gone, and all points with it. One of a cluster may come back on
    another machine: then requests are repeated, and what was missed meanwhile is asked for.

    Args:
        patience_s: how long to look for a server that is away.
    """

    def __init__(self, endpoint: Endpoint, address: str, patience_s: float | None = None) -> None:
        self.endpoint, self.address = endpoint, address
        self.is_here = addresses.parse(address, contract.ENGINE_VARIABLE).is_here
        self._patience_s = (0.0 if self.is_here else _PATIENCE_S) if patience_s is None else patience_s
        self._closed = False
        self.running: dict[str, tuple[float, str]] = {}
        self.nodes: dict[str, str] = {}
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
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._ask(verb, fields)
                break
            except errors.EngineUnavailableError as error:
                is_refused = isinstance(error.__cause__, errors.HandshakeError)
                if self._closed or is_refused or time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_S)
        if "error" in answer:
            raise contract.error_from_json(answer["error"])
        answered: dict[str, Any] = answer["ok"]
        return answered

    def _ask(self, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        channel = self._send({"id": number, "do": verb, **fields})
        patience_s = _ANSWER_TIMEOUT_S if self.is_here else _SLOW_ANSWER_S
        with self._changed:
            self._changed.wait_for(
                lambda: number in self._answers or self._lost or self._channel is not channel, patience_s
            )
            answer = self._answers.pop(number, None)
        if answer is None:
            raise self._lost or errors.EngineUnavailableError(
                f"the engine at {self.address} has not answered {verb!r} for {patience_s:g} s"
            )
        return answer

    def post(self, verb: str, **fields: Any) -> None:
        """Tell, and wait for nothing."""
        self._send({"do": verb, **fields})

    def wait_for_news(self, patience_s: float) -> None:
        """Wait until the server has said something."""
        with self._changed:
            self._changed.wait(patience_s)

    def ending_of(self, point: str, patience_s: float) -> Ending | None:
        """How a point ended, waiting a moment for the news; None if it has not."""
        with self._changed:
            self._changed.wait_for(lambda: point in self.endings or self._lost, patience_s)
            return self.endings.get(point)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _send(self, message: dict[str, Any]) -> TcpChannel:
        try:
            channel = self._open()
            channel.send(message)
            return channel
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
            self._drop(channel)
            if self._patience_s and not self._closed:
                self._come_back()

    def _drop(self, channel: TcpChannel) -> None:
        """This connection is over; the next request makes another, where the server may come back."""
        with self._lock:
            if self._patience_s and self._channel is channel:
                self._channel = None
        if self._patience_s:
            channel.close(patience_s=0.0)

    def _come_back(self) -> None:
        """Find the server again, and ask what has become of the points meanwhile."""
        deadline = time.monotonic() + self._patience_s
        while not self._closed and time.monotonic() < deadline:
            try:
                self._send({"id": _SYNC, "do": "status"})
                return
            except errors.EngineUnavailableError:
                time.sleep(_RETRY_S)

    def _take(self, message: Any) -> None:
        if message.get("id") == _SYNC:
            self._catch_up(message.get("ok", {}).get("points", []))
        elif "id" in message:
            with self._changed:
                self._answers[message["id"]] = message
                self._changed.notify_all()
        elif message.get("event") == "ended":
            with self._changed:
                self.endings[message["point"]] = Ending.from_json(message["ending"])
                self._changed.notify_all()
            self.on_ended()
        elif message.get("event") == "running":
            with self._changed:
                self.running[message["point"]] = (time.monotonic(), str(message.get("address", "")))
                self.nodes[message["point"]] = str(message.get("node", ""))
                self._changed.notify_all()
            self.on_ended()
        elif message.get("event") == "deadlock":
            self.endpoint.waits.judge(int(message["report"]), [str(name) for name in message["cycle"]])

    def _catch_up(self, points: list[dict[str, Any]]) -> None:
        """After a reconnection: which points ended meanwhile."""
        with self._changed:
            for point in points:
                if point.get("ending"):
                    self.endings[point["name"]] = Ending.from_json(point["ending"])
            self._changed.notify_all()
        self.on_ended()

    def _tell_waiting(self, number: int, waits: list[waiting.Wait]) -> None:
        channels = [[c.identity, c.peer.name, wait.sending] for wait in waits for c in wait.channels]
        counts = {
            c.identity: [c.sent, c.received] for c in self.endpoint.channels() if c.home is self.endpoint
        }
        try:
            self.post("waiting", report=number, channels=channels, counts=counts)
        except errors.EngineError as error:
            logger.debug("the engine was not told of a wait: %s", error)
