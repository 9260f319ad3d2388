"""The engine server and its client, in one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parcs import connect, errors
from parcs.channel import Endpoint
from parcs.engine.client import EngineClient
from parcs.engine.local import LocalEngineServer
from parcs.engine.remote import RemoteEngine
from parcs.model.settings import Settings

TOKEN = b"a token"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalEngineServer]:
    made = LocalEngineServer([tmp_path], Settings(handshake_timeout_s=0.5), token=TOKEN)
    yield made
    made.close()


@pytest.fixture
def client(server: LocalEngineServer) -> Iterator[EngineClient]:
    endpoint = Endpoint("runner", TOKEN, Settings())
    made = EngineClient(endpoint, str(server.server.address))
    yield made
    made.close()
    endpoint.close()


@pytest.mark.parametrize(
    ("verb", "fields", "said"),
    [
        ("dance", {}, "no request 'dance'"),
        ("start", {}, "'module'"),
        ("start", {"module": "m", "call": "c", "count": 0}, "from 1 to 100000"),
        ("start", {"module": "m", "call": "c", "count": True}, "from 1 to 100000"),
        ("start", {"module": "m", "call": "c", "environment": {"A": 1}}, "map names to strings"),
        ("start", {"module": "m", "call": "c", "environment": {"A\0": "b"}}, "map names to strings"),
        ("start", {"module": "m", "call": "c", "resources": 3}, "'resources'"),
        ("start", {"module": "nowhere", "call": "c"}, "no module named 'nowhere'"),
        ("stop", {"points": 5}, "list of names"),
        ("stop", {"points": [[]]}, "list of names"),
        ("stop", {"points": ["ghost-1"]}, "no point named 'ghost-1'"),
        ("status", {"points": ["ghost-1"]}, "no point named 'ghost-1'"),
        ("waiting", {"report": "x", "channels": 3}, "waiting:"),
        ("waiting", {"report": 1, "channels": [], "counts": {"c": [1]}}, "waiting:"),
        ("report", {"messages_sent": "many"}, "report:"),
    ],
)
def test_a_senseless_request_is_refused_and_the_server_goes_on(
    client: EngineClient, verb: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises((errors.EngineError, errors.UnknownModuleError), match=said):
        client.request(verb, **fields)
    assert client.request("status") == {"points": []}


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100, b""])
def test_garbage_at_the_servers_port_harms_nobody(
    server: LocalEngineServer, client: EngineClient, garbage: bytes
) -> None:
    with socket.create_connection(server.server.address[:2]) as sock:
        sock.sendall(garbage)
        sock.settimeout(5)
        assert sock.recv(10) == b""  # a silent caller is dropped after the time allowed, too
    assert client.request("status") == {"points": []}


def test_a_wrong_token_starts_nothing(server: LocalEngineServer) -> None:
    endpoint = Endpoint("stranger", b"wrong", Settings())
    with pytest.raises(errors.EngineUnavailableError, match="token"):
        EngineClient(endpoint, str(server.server.address)).request("status")
    endpoint.close()


def test_status_tells_the_life_of_a_point(server: LocalEngineServer, tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "parcs.toml").write_text('command = "python echo.py"')
    (tmp_path / "echo" / "echo.py").write_text(
        "from parcs.server import Service, serve\n"
        "class Echo(Service):\n"
        "    def run(self): self.send(self.recv())\n"
        "serve(Echo())\n"
    )
    endpoint = Endpoint("runner", TOKEN, Settings())
    engine = RemoteEngine(endpoint, EngineClient(endpoint, str(server.server.address)), endpoint.close)
    point = engine.run("echo")
    assert engine.client.request("status")["points"][0]["state"] == "running"
    point.send("x")
    assert point.recv(10) == "x"
    ending = engine.ending_of("echo-1")
    assert ending is not None and ending.is_clean
    assert engine.client.request("status", points=["echo-1"])["points"][0]["state"] == "succeeded"
    engine.close()
    engine.close()
    with pytest.raises(errors.EngineError, match="closed"):
        engine.run("echo")


def test_an_engine_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.SettingsError, match=r"there are: local, swarm"):
        connect("cloud://leader")
    with pytest.raises(errors.DockerUnavailableError, match="no Docker context 'nobody'"):
        connect("swarm://nobody")
    with pytest.raises(errors.SettingsError, match="PARCS_CERTIFICATE"):
        connect("tls://127.0.0.1:1")
    with pytest.raises(errors.SettingsError, match="PARCS_TOKEN"):
        connect("tcp://127.0.0.1:1")
    monkeypatch.setenv("PARCS_TOKEN", "t")
    with (
        connect("tcp://127.0.0.1:1") as engine,
        pytest.raises(errors.EngineUnavailableError, match="cannot reach"),
    ):
        engine.run("echo")
    monkeypatch.setenv("LEADER_URL", "tcp://127.0.0.1:1")
    with pytest.raises(
        errors.DockerUnavailableError, match=r"no Docker Engine answers at tcp://127\.0\.0\.1:1"
    ):
        connect()
