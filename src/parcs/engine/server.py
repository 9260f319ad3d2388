"""The engine server: programs that prove their job's token ask it for points.

One thread serves everything: connections, and whatever the backend watches (output and deaths of
processes). It knows requests and sessions; how a point runs is the backend's business, and which jobs there
are is the directory's: one on a machine of its own, many on a Swarm.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol

from parcs import errors
from parcs.channel import sockets, waiting
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
_KEEP_S = 1.0
"""How often each program's connection is looked at: whether it lives, and whether it has to be shown that we do."""


class Directory(Protocol):
    """Which jobs there are."""

    def token(self, space: bytes) -> bytes:
        """The token that programs of this space prove.

        Raises:
            AuthenticationError: there is no such space.
        """

    def space(self, space: bytes) -> ControlSpace:
        """The control space of programs that proved its token."""


class OneJob:
    """The directory of a server with one job: whatever space a caller names, it is this one."""

    def __init__(self, token: bytes, space: ControlSpace) -> None:
        self._token, self._space = token, space

    def token(self, space: bytes) -> bytes:
        return self._token

    def space(self, space: bytes) -> ControlSpace:
        return self._space


Answer = dict[str, Any] | Future[dict[str, Any]]


class Backend(Protocol):
    """How points run. All methods are called on the server's thread.

    The backend reports each end of a point once, through ``server.on_ended``.
    """

    def attach(self, server: EngineServer) -> None:
        """The server is up."""

    def start(self, space: ControlSpace, request: contract.Start, creator: str) -> Answer:
        """Begin to start points; gives ``points``, their names, now or later.

        Raises:
            ModuleError, EngineError: none was started.
        """

    def stop(self, space: ControlSpace, name: str) -> None:
        """Begin to end a point."""

    def warm(self, space: ControlSpace, module: str, count: int) -> Answer:
        """Keep points waiting; answers when they do."""

    def on_waiting(self, session: Session) -> None:
        """A warm point has called, and waits."""

    def on_gone(self, session: Session) -> None:
        """A connection is over, perhaps that of a warm point."""

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
        self.said_bye = False

    @property
    def program(self) -> str:
        """The name of the program, once it has said hello."""
        return self.machine.peer.name if self.machine.peer else ""

    @property
    def role(self) -> str:
        """What it called for, once it has said hello."""
        return self.machine.peer.role if self.machine.peer else ""

    @property
    def space(self) -> bytes:
        """The control space it named; proved once the handshake is done."""
        return self.machine.space


class EngineServer:
    """Serves programs on one address, on a thread of its own.

    Args:
        directory: the jobs, and what their programs must prove.
        backend: how points run.
        host, port: where to listen; port 0 is chosen by the system.
    """

    roles = frozenset({"engine", "warm"})
    """What one can call this server for."""

    def __init__(
        self,
        directory: Directory,
        backend: Backend,
        settings: Settings,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.directory, self._backend, self._settings = directory, backend, settings
        self._sock = socket.create_server((host, port), backlog=1024)
        self._sock.setblocking(False)
        self.address = Address(*self._sock.getsockname()[:2])
        self._selector = selectors.DefaultSelector()
        self._sessions: dict[socket.socket, Session] = {}
        self._wake, self._woken = socket.socketpair()
        self._calls: deque[Callable[[], object]] = deque()
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._over = threading.Event()
        self._looked = self._kept = time.monotonic()
        self.watch(self._sock, self._accept)
        self.watch(self._woken, self._call)
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

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call back on the server's thread, from any other."""
        self._calls.append(function)
        try:
            self._wake.send(b"x")
        except OSError:
            return  # closed: nobody waits for it any more

    def call_later(self, delay_s: float, function: Callable[[], object]) -> None:
        """Call back on the server's thread after a while; on that thread only."""
        self._later.append((time.monotonic() + delay_s, function))

    def _call(self) -> None:
        self._woken.recv(4096)
        while self._calls:
            self._guard(self._calls.popleft())

    def on_ended(self, space: ControlSpace, name: str, ending: Ending, cpu_s: float = 0.0) -> None:
        """The backend says: a point is over."""
        space.end(name, ending, cpu_s)
        self.tell(space, space.record(name).creator, contract.ended_event(name, ending))

    def on_session_end(self, session: Session) -> None:
        """A program's connection is over."""
        self._backend.on_gone(session)

    def give(self, session: Session, event: dict[str, Any]) -> None:
        """Send an event to one connection."""
        self._send_json(session, event)

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
            self._guard(lambda key=key, events=events: self._serve(key, events))  # type: ignore[misc]
        self._guard(self._backend.tick)
        now = time.monotonic()
        if now - self._looked < _TICK_S:
            return
        self._looked = now
        due = [function for at, function in self._later if at <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for function in due:
            self._guard(function)
        if now - self._kept < min(_KEEP_S, self._settings.keepalive_s or _KEEP_S):
            return
        self._kept = now
        for session in list(self._sessions.values()):
            if session.machine.is_done:
                self._keep(session, now)
            elif session.until < now:
                self._drop(session, "said nothing in time")

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        if not isinstance(key.data, Session):
            key.data()
            return
        if events & selectors.EVENT_WRITE:
            self._flush(key.data)
        if events & selectors.EVENT_READ:
            self._hear(key.data)

    def _guard(self, work: Callable[[], object]) -> None:
        """A mistake of ours in one place ends nothing but what it happened in: others depend on this thread."""
        try:
            work()
        except Exception:
            logger.exception("the engine server made a mistake, and goes on")

    def _keep(self, session: Session, now: float) -> None:
        """Show a sign of life, and look for the peer's."""
        silence = sockets.silent_for(session.sock)
        if silence > self._settings.host_silence_s:
            self._drop(session, f"its machine has been silent for {silence:.0f} s")
        elif self._settings.keepalive_s and now - session.spoke > self._settings.keepalive_s:
            self._send(session, header.pack(header.KEEPALIVE, 0))

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            logger.warning("a program could not be accepted: %s", error)
            time.sleep(0.01)
            return
        sock.setblocking(False)
        sockets.tune(sock, self._settings.host_silence_s)
        sock.setblocking(False)
        machine = AcceptorV2(self.directory.token, self._hello)
        machine.start()
        session = Session(sock, machine, time.monotonic() + self._settings.handshake_timeout_s)
        self._sessions[sock] = session
        self._selector.register(sock, selectors.EVENT_READ, session)

    def _hello(self, caller: control.Hello) -> control.Hello:
        if caller.role not in self.roles:
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
            end = None if session.machine.is_done else session.machine.end()
            self._drop(session, f"refused: {end}" if isinstance(end, errors.AuthenticationError) else "")
            return
        try:
            self._take(session, data if session.machine.is_done else self._greet(session, data))
        except errors.ProtocolError as error:
            if session.machine.refusal:
                self._send(session, session.machine.refusal)
            self._drop(session, str(error))

    def _greet(self, session: Session, data: bytes) -> bytes:
        """Go on with the handshake; gives what came after it."""
        self._send(session, session.machine.receive(data))
        if session.machine.is_done and session.role == "warm":
            self._backend.on_waiting(session)
        return session.machine.leftover

    def _take(self, session: Session, data: bytes) -> None:
        for frame in session.reader.frames(data):
            if frame.tag == header.JSON:
                self._answer(session, codecs.decode_json(frame.body))
            elif frame.tag == header.CONTROL and control.parse(frame.body)["kind"] == "bye":
                session.said_bye = True

    def _answer(self, session: Session, request: Any) -> None:
        if not isinstance(request, dict):
            raise errors.ProtocolError("an engine request should be an object")
        try:
            answer = self._perform(session, request)
        except errors.ParcsError as error:
            self._send_answer(session, request, {"error": contract.error_to_json(error)})
            return
        except Exception as error:
            logger.exception("a request failed: %s", request.get("do"))
            told = errors.EngineError(f"the engine failed at {request.get('do')!r}: {error!r}")
            self._send_answer(session, request, {"error": contract.error_to_json(told)})
            return
        if isinstance(answer, Future):
            answer.add_done_callback(
                lambda future: self.call_soon(lambda: self._send_later(session, request, future))
            )
        else:
            self._send_answer(session, request, {"ok": answer})

    def _send_later(self, session: Session, request: dict[str, Any], future: Future[dict[str, Any]]) -> None:
        error = future.exception()
        if error is None:
            self._send_answer(session, request, {"ok": future.result()})
            return
        if not isinstance(error, errors.ParcsError):
            logger.error("a request failed: %s", request.get("do"), exc_info=error)
            error = errors.EngineError(f"the engine failed at {request.get('do')!r}: {error!r}")
        self._send_answer(session, request, {"error": contract.error_to_json(error)})

    def _send_answer(self, session: Session, request: dict[str, Any], answer: dict[str, Any]) -> None:
        if "id" in request and session.sock in self._sessions:
            self._send_json(session, {"id": request["id"], **answer})

    def _perform(self, session: Session, request: dict[str, Any]) -> Answer:
        perform = _VERBS.get(str(request.get("do")))
        if perform is None:
            raise errors.EngineError(f"there is no request {request.get('do')!r}")
        return perform(self, session.program, self.directory.space(session.space), request)

    def _start(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        return self._backend.start(space, contract.parse_start(request), program)

    def _stop(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        for name in contract.parse_names(request):
            if not space.record(name).state.is_final:
                space.advance(name, PointEvent.STOP)
                self._backend.stop(space, name)
        return {}

    def _warm(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        return self._backend.warm(space, *contract.parse_warm(request))

    def _status(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        names = contract.parse_names(request) or list(space.points)
        return {"points": [space.record(name).to_json() for name in names]}

    def _waiting(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        for verdict in space.set_waiting(program, contract.parse_waiting(request)):
            event = {"event": "deadlock", "report": verdict.report, "cycle": verdict.cycle}
            self.tell(space, verdict.program, event)
        return {}

    def _report(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        space.add_report(program, contract.parse_report(request))
        return {}

    def _result(self, program: str, space: ControlSpace, request: dict[str, Any]) -> Answer:
        space.result = request.get("value")
        return {}

    def tell(self, space: ControlSpace, program: str, event: dict[str, Any]) -> None:
        """Send an event to a program, if it is connected."""
        for session in list(self._sessions.values()):
            is_its = session.program == program and session.machine.is_done
            if is_its and self.directory.space(session.space) is space:
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
        if session.machine.is_done:
            self.on_session_end(session)


_Perform = Callable[[EngineServer, str, ControlSpace, dict[str, Any]], Answer]

_VERBS: Final[dict[str, _Perform]] = {
    "start": EngineServer._start,
    "stop": EngineServer._stop,
    "warm": EngineServer._warm,
    "status": EngineServer._status,
    "waiting": EngineServer._waiting,
    "report": EngineServer._report,
    "result": EngineServer._result,
}
