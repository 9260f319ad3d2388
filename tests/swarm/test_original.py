"""Programs of the original PARCS, written from docs/protocol.md with nothing of ours, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import wait_until
from tests.swarm.conftest import Cluster

ORIGINAL_SERVICE = r"""
import json, socket, struct
server = socket.create_server(("", 4444))
while True:
    peer, _ = server.accept()
    def take(count):
        data = b""
        while len(data) < count:
            more = peer.recv(count - len(data))
            if not more:
                raise SystemExit(0)
            data += more
        return data
    assert take(3) == b"SYN"
    peer.sendall(b"ACK")
    while True:
        (size,) = struct.unpack(">Q", take(8))
        value = json.loads(take(size))
        body = json.dumps({"original": value}).encode()
        peer.sendall(struct.pack(">Q", len(body)) + body)
"""

ORIGINAL_RUNNER = r"""
import json, os, socket, struct, time
leader = os.environ["LEADER_URL"].removeprefix("unix://")
def docker(method, path, body=None):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(leader)
    data = json.dumps(body).encode() if body is not None else b""
    sock.sendall(f"{method} /v1.41{path} HTTP/1.0\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
    answer = b""
    while more := sock.recv(65536):
        answer += more
    body = answer.partition(b"\r\n\r\n")[2]
    return json.loads(body) if body else None
made = docker("POST", "/services/create", {
    "TaskTemplate": {"ContainerSpec": {"Image": os.environ["IMAGE"],
                                       "Env": ["LEADER_URL=" + os.environ["LEADER_URL"]]},
                     "RestartPolicy": {"Condition": "none"}, "Networks": [{"Target": "parcs"}]},
    "EndpointSpec": {"Mode": "dnsrr"}})
name = docker("GET", "/services/" + made["ID"])["Spec"]["Name"]
print("service", name, flush=True)
try:
    deadline = time.time() + 60
    while True:
        try:
            peer = socket.create_connection((name, 4444), timeout=5)
            break
        except OSError:
            assert time.time() < deadline
            time.sleep(0.2)
    def take(count):
        data = b""
        while len(data) < count:
            data += peer.recv(count - len(data))
        return data
    peer.sendall(b"SYN")
    assert take(3) == b"ACK"
    for value in (1000, 2, 500):
        body = json.dumps(value).encode()
        peer.sendall(struct.pack(">Q", len(body)) + body)
    (size,) = struct.unpack(">Q", take(8))
    print("facts", take(size).decode(), flush=True)
finally:
    docker("DELETE", "/services/" + made["ID"])
"""


def _build(cluster: Cluster, folder: Path, name: str, program: str) -> str:
    folder.mkdir()
    (folder / "main.py").write_text(program)
    base = f"{cluster.lab.registry}/python:3-slim"
    (folder / "Dockerfile").write_text(f'FROM {base}\nCOPY main.py .\nCMD ["python3", "-u", "main.py"]\n')
    image = f"{cluster.lab.registry}/{name}"
    first = cluster.lab.nodes[0]
    first.docker("build", "--quiet", "--tag", image, str(folder))
    first.docker("push", "--quiet", image)
    return image


def test_our_runner_drives_an_original_service(
    cluster: Cluster, tmp_path: Path, module: Callable[..., Path]
) -> None:
    _build(cluster, tmp_path / "v1", "lionell/echo", ORIGINAL_SERVICE)
    runner = (
        "from parcs.server import Runner, serve\nclass R(Runner):\n    def run(self):\n"
        "        points = [self.engine.run('lionell/echo'), *self.engine.run_all('lionell/echo', 2)]\n"
        "        for i, p in enumerate(points):\n            p.send_all(i, 'x')\n"
        "        got = [(p.recv(), p.recv()) for p in points]\n"
        "        for p in points:\n            p.shutdown()\n        return got\nserve(R())\n"
    )
    answer = cluster.run(str(module("drives", runner=runner)))
    assert answer["result"] == [[{"original": i}, {"original": "x"}] for i in range(3)]


def test_an_original_runner_drives_our_service(cluster: Cluster, tmp_path: Path) -> None:
    image = _build(cluster, tmp_path / "v1", "lionell/runner", ORIGINAL_RUNNER)
    built = cluster.parcs("module", "push", "factor").stdout.split()[0]
    first = cluster.lab.nodes[0]
    first.docker(
        "service", "create", "--detach", "--quiet", "--name", "original", "--network", "parcs",
        "--restart-condition", "none", "--endpoint-mode", "dnsrr", "--constraint", "node.role==manager",
        "--mount", "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock",
        "--env", "LEADER_URL=unix:///var/run/docker.sock", "--env", f"IMAGE={built}", image,
    )  # fmt: skip
    try:
        output = _wait_for_output(cluster, "original", "facts")
        assert "facts [2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250]" in output
    finally:
        first.docker("service", "rm", "original")


def _wait_for_output(cluster: Cluster, service: str, word: str) -> str:
    first = cluster.lab.nodes[0]

    def read() -> str:
        text = first.docker("service", "logs", "--raw", service)
        return text if word in text or "Error" in text else ""

    return str(wait_until(read, f"{service} prints {word}", 60))
