"""The engine server: programs that prove the job's token ask it for points.

One thread serves everything: connections, and whatever the backend watches (output and deaths of
processes). It knows requests and sessions; how a point runs is the backend's business.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from parcs import errors
from parcs.channel import waiting
from parcs.contract import engine as contract
from parcs.engine.space import ControlSpace
from parcs.model.address import Address
from parcs.model.lifecycle import Ending, PointEvent
from parcs.model.settings import Settings
from parcs.version import VERSION
from parcs.wire import codecs, control, header
from parcs.wire.handshake import AcceptorV2
from parcs.wire.reader import FrameReader

logger = logging.getLogger("parcs.engine")

_MOST_UNSENT = 64 << 20
_LARGEST_REQUEST = 256 << 20
"""Bytes: a job's result may be large, nothing else is."""
_TICK_S = 0.25


class Backend(Protocol):
    """How points run. All methods are called on the server's thread.

    The backend reports each end of a point once, through ``server.on_ended``.
    """

    def attach(self, server: EngineServer) -> None:
        """The server is up."""

    def start(self, request: contract.Start, creator: str) -> list[str]:
        """Begin to start points; returns their names.

        Raises:
            ModuleError, EngineError: none was started.
        """

    def stop(self, name: str) -> None:
        """Begin to end a point."""

    def tick(self) -> None:
        """Some time has passed."""

    def close(self) -> None:
        """End everything and wait for it."""


class Session:
    """One program's connection."""

    def __init__(self, sock: socket.socket, machine: AcceptorV2, until: float) -> None:
        self.sock, self.machine, self.until = sock, machine, until
        self.reader = FrameReader(_LARGEST_REQUEST)
        self.unsent: deque[bytes] = deque()
        self.spoke = time.monotonic()

    @property
    def program(self) -> str:
        """The name of the program, once it has said hello."""
        return self.machine.peer.name if self.machine.peer else ""


class EngineServer:
    """Serves one control space on a loopback address, on a thread of its own.

    Args:
        token: what programs must prove.
        space: the job.
        backend: how its points run.
    """

    def __init__(self, token: bytes, space: ControlSpace, backend: Backend, settings: Settings) -> None:
        self.space, self._backend, self._token, self._settings = space, backend, token, settings
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._sock.setblocking(False)
        self.address = Address(*self._sock.getsockname()[:2])
        self._selector = selectors.DefaultSelector()
        self._sessions: dict[socket.socket, Session] = {}
        self._wake, self._woken = socket.socketpair()
        self._over = threading.Event()
        self.watch(self._sock, self._accept)
        self.watch(self._woken, lambda: self._woken.recv(4096))
        backend.attach(self)
        self._thread = threading.Thread(
            target=self._run, name=f"{waiting.OWN_THREAD}engine-server", daemon=True
        )
        self._thread.start()

    def watch(self, file: Any, on_readable: Callable[[], object]) -> None:
        """Call back on the server's thread whenever ``file`` is readable."""
        self._selector.register(file, selectors.EVENT_READ, on_readable)

    def unwatch(self, file: Any) -> None:
        """Stop watching."""
        self._selector.unregister(file)

    def on_ended(self, name: str, ending: Ending, cpu_s: float = 0.0) -> None:
        """The backend says: a point is over."""
        self.space.end(name, ending, cpu_s)
        self._tell(self.space.record(name).creator, contract.ended_event(name, ending))

    def close(self) -> None:
        """End every point, then stop serving."""
        if not self._over.is_set():
            self._over.set()
            self._wake.send(b"x")
        self._thread.join()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._over.is_set():
            self.serve_once(_TICK_S)
        self._backend.close()
        for session in list(self._sessions.values()):
            self._drop(session)
        for sock in (self._sock, self._wake, self._woken):
            self._selector.unregister(sock) if sock is not self._wake else None
            sock.close()
        self._selector.close()

    def serve_once(self, timeout_s: float) -> None:
        """Serve whatever is ready, waiting at most ``timeout_s``; on the server's thread only."""
        for key, events in self._selector.select(timeout_s):
            if isinstance(key.data, Session):
                if events & selectors.EVENT_WRITE:
                    self._flush(key.data)
                if events & selectors.EVENT_READ:
                    self._hear(key.data)
            else:
                key.data()
        self._backend.tick()
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if session.machine.is_done:
                if self._settings.keepalive_s and now - session.spoke > self._settings.keepalive_s:
                    self._send(session, header.pack(header.KEEPALIVE, 0))
            elif session.until < now:
                self._drop(session, "said nothing in time")

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            logger.warning("a program could not be accepted: %s", error)
            time.sleep(0.01)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        machine = AcceptorV2(self._token, self._hello)
        machine.start()
        session = Session(sock, machine, time.monotonic() + self._settings.handshake_timeout_s)
        self._sessions[sock] = session
        self._selector.register(sock, selectors.EVENT_READ, session)

    def _hello(self, caller: control.Hello) -> control.Hello:
        if caller.role != "engine":
            raise errors.HandshakeError(
                f"this is an engine server; a {caller.role!r} has called the wrong address"
            )
        return control.Hello(
            "engine", "engine", "", "", self._settings.frame_limit, self._settings.keepalive_s, parcs=VERSION
        )

    def _hear(self, session: Session) -> None:
        try:
            data = session.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(session, str(error))
            return
        if not data:
            self._drop(session)
            return
        try:
            if not session.machine.is_done:
                self._send(session, session.machine.receive(data))
                data = session.machine.leftover  # nothing until the handshake is done
            self._take(session, data)
        except errors.ProtocolError as error:
            if session.machine.refusal:
                self._send(session, session.machine.refusal)
            self._drop(session, str(error))

    def _take(self, session: Session, data: bytes) -> None:
        for frame in session.reader.frames(data):
            if frame.tag == header.JSON:
                self._answer(session, codecs.decode_json(frame.body))

    def _answer(self, session: Session, request: Any) -> None:
        if not isinstance(request, dict):
            raise errors.ProtocolError("an engine request should be an object")
        try:
            answer = {"ok": self._perform(session.program, request)}
        except errors.ParcsError as error:
            answer = {"error": contract.error_to_json(error)}
        if "id" in request:
            self._send_json(session, {"id": request["id"], **answer})

    def _perform(self, program: str, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("do")
        if verb == "start":
            return {"points": self._backend.start(contract.parse_start(request), program)}
        if verb == "stop":
            for name in contract.parse_names(request):
                if not self.space.record(name).state.is_final:
                    self.space.advance(name, PointEvent.STOP)
                    self._backend.stop(name)
            return {}
        if verb == "status":
            names = contract.parse_names(request) or list(self.space.points)
            return {"points": [self.space.record(name).to_json() for name in names]}
        if verb == "waiting":
            for verdict in self.space.set_waiting(program, contract.parse_waiting(request)):
                event = {"event": "deadlock", "report": verdict.report, "cycle": verdict.cycle}
                self._tell(verdict.program, event)
            return {}
        if verb == "report":
            self.space.add_report(program, contract.parse_report(request))
            return {}
        if verb == "result":
            self.space.result = request.get("value")
            return {}
        raise errors.EngineError(f"there is no request {verb!r}")

    def _tell(self, program: str, event: dict[str, Any]) -> None:
        for session in list(self._sessions.values()):
            if session.program == program and session.machine.is_done:
                self._send_json(session, event)

    def _send_json(self, session: Session, message: dict[str, Any]) -> None:
        body = codecs.encode_json(message).parts[0]
        self._send(session, header.pack(header.JSON, len(body)) + body)

    def _send(self, session: Session, data: bytes) -> None:
        session.spoke = time.monotonic()
        session.unsent.append(data)
        self._flush(session)

    def _flush(self, session: Session) -> None:
        try:
            while session.unsent:
                data = session.unsent[0]
                sent = session.sock.send(data)
                session.unsent.popleft()
                if sent < len(data):
                    session.unsent.appendleft(data[sent:])
        except BlockingIOError:
            if sum(map(len, session.unsent)) > _MOST_UNSENT:
                self._drop(session, "does not read its answers")
                return
        except OSError as error:
            self._drop(session, str(error))
            return
        if session.sock in self._sessions:
            write = selectors.EVENT_WRITE if session.unsent else 0
            self._selector.modify(session.sock, selectors.EVENT_READ | write, session)

    def _drop(self, session: Session, reason: str = "") -> None:
        if self._sessions.pop(session.sock, None) is None:
            return
        self._selector.unregister(session.sock)
        session.sock.close()
        if reason:
            logger.warning("dropped %s: %s", session.program or "a caller", reason)
