"""A program's place in the control space, set up from its environment.

PARCS_WARM set       a point that waits for a creator first (parcs.standby)
PARCS_CALL set       a point: dial the creator back (version 2)
otherwise a Service  listens as the original does (version 1, port 4444): any original runner can drive it
PARCS_ENGINE set     its engine server; without it a program that starts points becomes its own engine
"""

from __future__ import annotations

import logging
import os
import signal
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parcs import errors
from parcs.channel import Endpoint, new_token, sockets
from parcs.contract import engine as contract
from parcs.model import address as addresses
from parcs.model import settings as options
from parcs.wire import control

if TYPE_CHECKING:
    from parcs.channel.tcp import TcpChannel
    from parcs.engine.client import EngineClient
    from parcs.engine.remote import RemoteEngine
    from parcs.engine.space import Summary
    from parcs.usage import Meter

logger = logging.getLogger("parcs")

PORT_V1 = 4444
_NETWORK_S = 55.0
_GRACE_S = 2.0


class Program:
    """A program's place: its endpoint, its engine once it is used, and its creator if it is a point."""

    def __init__(self, name: str, token: bytes, engine_url: str, call: str) -> None:
        space = os.environ.get(contract.SPACE_VARIABLE, "")
        host = _own_address(call or engine_url)
        self.endpoint = Endpoint(name, token, options.from_environment(os.environ), host, space)
        self.endpoint.node = os.environ.get(contract.NODE_VARIABLE, "")
        self.endpoint.fingerprint = os.environ.get(contract.CERTIFICATE_VARIABLE, "")
        self.endpoint.ledger.is_tracing = bool(os.environ.get(contract.TRACE_VARIABLE))
        self._engine: RemoteEngine | None = None
        self._client: EngineClient | None = None
        self._parent: TcpChannel | None = None
        self._call = call
        self._begin = (time.time(), time.process_time())
        self._meter: Meter | None = None
        if engine_url:
            from parcs.engine.client import EngineClient

            self._client = EngineClient(self.endpoint, engine_url)
            if self.endpoint.node:
                from parcs.usage import Meter

                self._meter = Meter(self.endpoint, self._client)
                self.endpoint.on_beat.append(self._meter)

    @classmethod
    def from_environment(cls) -> Program:
        """As the engine that started this program set it up; on its own if none did.

        Raises:
            SettingsError: the environment contradicts itself.
        """
        environment = os.environ
        if environment.get(contract.WARM_VARIABLE):
            from parcs import standby

            standby.wait_to_be_taken(_own_name(environment))
        token = environment.get(contract.TOKEN_VARIABLE, "")
        engine_url = environment.get(contract.ENGINE_VARIABLE, "")
        if engine_url and not token:
            raise errors.SettingsError(
                f"{contract.ENGINE_VARIABLE} is set and {contract.TOKEN_VARIABLE} is not; set both, "
                "or neither to run on this machine"
            )
        name = _own_name(environment)
        call = environment.get(contract.CALL_VARIABLE, "")
        return cls(name, token.encode() or new_token(), engine_url, call)

    @property
    def summary(self) -> Summary | None:
        """The run in numbers, if this program was its own engine."""
        return (
            self._engine.summary() if self._engine is not None and self._engine.summary is not None else None
        )

    @property
    def is_point(self) -> bool:
        """Whether an engine started this program to call its creator back."""
        return bool(self._call)

    @property
    def engine(self) -> RemoteEngine:
        """The engine; found, or made, at the first use."""
        if self._engine is None:
            from parcs.engine import registry
            from parcs.engine.remote import RemoteEngine

            if self._client is not None:
                self._engine = RemoteEngine(self.endpoint, self._client)
            else:
                self._engine = registry.connect(endpoint=self.endpoint)
                self._client = self._engine.client
                if self._parent is None:
                    self.endpoint = self._engine.endpoint  # a cluster's engine gives it one of its own
        return self._engine

    @property
    def parent(self) -> TcpChannel:
        """The channel to this point's creator.

        Raises:
            ChannelClosedError: this program is no point.
        """
        if self._parent is None:
            raise errors.ChannelClosedError(
                "this program was not started by a runner: it has nobody to talk to (end it with serve(...))"
            )
        return self._parent

    def call_creator(self) -> str:
        """Dial the creator back, or wait for an original runner to dial; returns who it is."""
        if self.is_point:
            self._parent = self._dial_creator()
            if self.endpoint.node:
                self.endpoint.on_beat.append(Watch(self._parent))
            return self._parent.name
        if contract.ENGINE_VARIABLE in os.environ:
            raise errors.SettingsError(
                "this program is a service: a runner starts it, with engine.run(...). To let a runner of the "
                "original PARCS drive it, start it by itself, without parcs run"
            )
        from parcs.channel.endpoint import accept_original

        host, port = _listen_address()
        logger.info("Waiting for a runner on %s:%d", host or "*", port)
        self._parent, ip = accept_original(host, port, self.endpoint)
        return ip

    def _dial_creator(self) -> TcpChannel:
        """Call the creator. A container's network may be some moments behind the container itself."""
        patience_s = 0.0 if addresses.parse(self._call).is_here else _NETWORK_S
        deadline, pause = time.monotonic() + patience_s, 0.01
        while True:
            try:
                return self.endpoint.dial(self._call, "point", self.endpoint.name, "")
            except errors.ChannelBrokenError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def send_error(self, error: BaseException) -> None:
        """Tell the creator that this program's code raised an exception."""
        if self._parent is None or self._parent.peer.version == 1:
            return
        trace = "".join(traceback.format_exception(error))
        try:
            self._parent.transmit(control.error_body(self.endpoint.name, error, trace))
        except errors.ParcsError as failure:
            logger.debug("the creator was not told: %s", failure)

    @property
    def is_managed(self) -> bool:
        """Whether another program's engine runs this one."""
        return contract.ENGINE_VARIABLE in os.environ

    def send_result(self, value: Any) -> None:
        """Give the job's result to the engine."""
        if self._client is not None and self.is_managed:
            self._client.request("result", value=value)

    def report(self) -> None:
        """Tell the engine what this program's channels carried, and what it cost."""
        if self._client is None:
            return
        began, busy = self._begin
        totals = self.endpoint.statistics
        events = self.endpoint.ledger.take_events()
        if self.endpoint.ledger.is_tracing:
            events.append(["run", "", "", 0, 0, began, time.time()])
        try:
            self._client.post(
                "report",
                **totals._asdict(),
                busy_s=time.process_time() - busy,
                elapsed_s=time.time() - began,
                language="python",
                events=events,
            )
        except errors.EngineError as error:
            logger.debug("the engine was not told what this program did: %s", error)

    def close(self) -> None:
        """Report, say goodbye, end the points started here."""
        if self._meter is not None:
            self._meter.tell()
        self.report()
        if self._parent is not None:
            self._parent.close()
        if self._engine is not None:
            self._engine.close()
        elif self._client is not None:
            self._client.close()
        self.endpoint.close()

    def start_clock(self) -> None:
        """The program's own work begins now."""
        self._begin = (time.time(), time.process_time())


class Watch:
    """A point of a cluster has no reason to live without its creator, and nobody on its machine to end it.

    Once the creator has said goodbye, or is lost, the point has a moment to end by itself.
    """

    def __init__(self, parent: TcpChannel) -> None:
        self._parent = parent
        self._since: float | None = None

    def __call__(self) -> None:
        if not self._parent.is_over:
            self._since = None
            return
        self._since = self._since or time.monotonic()
        alone_s = time.monotonic() - self._since
        if alone_s > 2 * _GRACE_S:
            os._exit(128 + signal.SIGTERM)
        if alone_s > _GRACE_S:
            os.kill(os.getpid(), signal.SIGTERM)


def _own_name(environment: Mapping[str, str]) -> str:
    """This program's name in the control space: given, or worked out from its number in its group."""
    name = environment.get(contract.POINT_VARIABLE, contract.RUNNER)
    slot, first = environment.get(contract.SLOT_VARIABLE, ""), environment.get(contract.FIRST_VARIABLE, "")
    return f"{name}-{int(first) + int(slot) - 1}" if slot.isdecimal() and first.isdecimal() else name


def _own_address(url: str) -> str:
    """Where this program can be called: the address from which it reaches its creator, or its engine."""
    if not url:
        return "127.0.0.1"
    where = addresses.parse(url)
    if where.is_here or where.scheme == "tls":
        return "127.0.0.1"
    return sockets.address_towards(where.host, where.port)


def _listen_address() -> tuple[str, int]:
    """Where to listen as version 1: on all addresses in an original's cluster, else on loopback only."""
    text = os.environ.get("PARCS_LISTEN", "")
    if text:
        host, _, port = text.rpartition(":")
        if not port.isdecimal():
            raise errors.SettingsError(f"PARCS_LISTEN is {text!r}; it should look like 127.0.0.1:4444")
        return host, int(port)
    return ("" if "LEADER_URL" in os.environ else "127.0.0.1"), PORT_V1
