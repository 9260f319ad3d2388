"""What goes wrong on a Swarm: each within its time, in words, with nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.conftest import wait_until
from tests.swarm.conftest import Cluster

import parcs
from parcs import errors
from parcs.dockerapi import networks, services, tasks
from parcs.dockerapi.client import Docker
from parcs.swarm import deploy, names

Make = Callable[..., Path]

PATIENT = """
from parcs.server import Service, serve
class Patient(Service):
    def run(self):
        while True:
            self.send(self.recv())
serve(Patient())
"""

CAREFUL = """
import json, os, time
from parcs import errors
from parcs.server import Runner, serve
class Careful(Runner):
    def run(self):
        points = self.engine.run_all("{name}", 3)
        print("points", json.dumps({{p.name: p.node for p in points}}), flush=True)
        begin = None
        while True:
            for point in points:
                begin = time.time()
                try:
                    point.send(1)
                    point.recv(timeout=30)
                except errors.ParcsError as error:
                    took = time.time() - begin
                    return [type(error).__name__, point.name, str(error), took, getattr(error, "node", "")]
            time.sleep(0.05)
serve(Careful())
"""


def test_a_missing_image_is_said_within_three_seconds(cluster: Cluster) -> None:
    with cluster.engine() as engine:
        begin = time.monotonic()
        with pytest.raises(errors.ImageMissingError, match=r"no image .*/nowhere.*parcs module push"):
            engine.run("nowhere")
        assert time.monotonic() - begin < 3
    begin = time.monotonic()
    done = cluster.parcs("run", "nowhere", "--on", "swarm", code=2)
    assert "no image" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_exits_at_once_is_told_with_its_last_lines(cluster: Cluster, module: Make) -> None:
    folder = module("early", "import sys; print('no licence found'); sys.exit(3)\n")
    cluster.parcs("module", "push", str(folder))
    with cluster.engine() as engine:
        with pytest.raises(errors.PointStartError, match="no licence found"):  # the image comes to the nodes
            engine.run_all("early", 3)
        begin = time.monotonic()
        with pytest.raises(
            errors.PointStartError, match=r"early-4: .*status 3 on node\d.*\n.*no licence found"
        ):
            engine.run("early")
        started = time.monotonic() - begin
    assert started < 2 + 1  # a container's start and end take about one of these


def test_needs_that_no_node_meets_are_refused_at_once(cluster: Cluster) -> None:
    cluster.parcs("module", "push", "sleeper")
    with cluster.engine() as engine:
        begin = time.monotonic()
        with pytest.raises(errors.NoRoomError, match=r"needs 64 CPUs.*Free: node1 .* CPUs"):
            engine.run("sleeper", resources={"cpus": 64})
        assert time.monotonic() - begin < 2
        with pytest.raises(errors.NoRoomError, match=r"needs 3 GPUs.*node2 .*2 GPUs"):
            engine.run("sleeper", resources={"gpus": 3})
        with pytest.raises(errors.NoRoomError, match=r"is not node\.labels\.disk==ssd"):
            engine.run("sleeper", resources={"constraints": ["node.labels.disk==ssd"]})
        with pytest.raises(errors.NoRoomError, match=r"4 points cannot be placed \(at most 1 on a node\)"):
            engine.run_all("sleeper", 4, resources={"per_node": 1})
        with pytest.raises(errors.SwarmError, match="is no constraint"):
            engine.run("sleeper", resources={"constraints": ["fast"]})
        apart = engine.run_all("sleeper", 3, resources={"per_node": 1, "gpus": 1})
        assert len({point.node for point in apart}) == 3
        pinned = engine.run("sleeper", resources={"constraints": ["node.hostname==node2"]})
        assert pinned.node == "node2"


def test_a_killed_container_is_a_point_that_died(cluster: Cluster, module: Make) -> None:
    folder = module("patient", PATIENT, CAREFUL.format(name="patient"))
    job = cluster.detach(str(folder))
    wait_until(lambda: "points" in cluster.parcs("logs", job).stdout, "the points answer", 60)
    container, url = cluster.container_of(job, "patient-2")
    subprocess.run(["docker", "--host", url, "kill", container], check=True, capture_output=True)
    cluster.parcs("logs", "-f", job)
    row = next(r for r in cluster.json("jobs") if r["job"] == job)
    assert row["result"] is not None, cluster.parcs("logs", job).stdout
    kind, point, text, took, _ = row["result"]
    assert (kind, point) == ("PointDiedError", "patient-2")
    assert "SIGKILL" in text
    assert "on node" in text
    assert took < 5


def test_a_cut_link_is_known_in_five_seconds(cluster: Cluster, module: Make) -> None:
    folder = module("patient", PATIENT, CAREFUL.format(name="patient"))
    cluster.parcs("module", "push", str(folder))
    job = cluster.parcs(
        "run", str(folder), "--on", "swarm", "--detach"
    ).stdout.strip()  # fmt: skip
    output = wait_until(
        lambda: next((x for x in cluster.parcs("logs", job).stdout.splitlines() if "points" in x), ""),
        "the points answer", 60,
    )  # fmt: skip
    places = json.loads(output.partition("points ")[2])
    with cluster.remote() as remote:
        own = remote.ps(job)["rows"][0]["node"]
    victim = next(node for node in places.values() if node not in (own, "node1"))
    cluster.lab.cut(victim)
    try:
        row = wait_until(
            lambda: next((r for r in cluster.json("jobs") if r["job"] == job and r["result"]), None),
            "the runner knows", 30,
        )  # fmt: skip
        kind, point, text, took, node = row["result"]
        assert (kind, node) == ("NodeLostError", victim)
        assert places[point] == victim
        assert "start this point's work again" in text
        assert took < 5
    finally:
        cluster.lab.heal(victim)
        cluster.wait_whole()


def test_a_pool_finishes_elsewhere_when_a_node_is_cut_off(cluster: Cluster) -> None:
    with cluster.engine() as engine, parcs.Pool(3, engine=engine, resources={"per_node": 2}) as pool:
        victim = next(w.point.node for w in pool._workers.values() if w.point.node != "node1")
        futures = [pool.submit(_slow_square, x) for x in range(60)]
        wait_until(lambda: sum(f.done() for f in futures) > 5, "work is under way", 30)
        cluster.lab.cut(victim)
        try:
            assert [f.result(timeout=60) for f in futures] == [x * x for x in range(60)]
        finally:
            cluster.lab.heal(victim)
            cluster.wait_whole()


def test_a_workers_docker_engine_is_restarted(cluster: Cluster) -> None:
    apart = {"per_node": 1}
    with cluster.engine() as engine, parcs.Pool(3, engine=engine, resources=apart) as pool:
        victim = "node3"
        futures = [pool.submit(_slow_square, x) for x in range(40)]
        wait_until(lambda: sum(f.done() for f in futures) > 3, "work is under way", 30)
        cluster.lab.restart_engine(victim)
        assert [f.result(timeout=60) for f in futures] == [x * x for x in range(40)]
    cluster.wait_whole()


def test_a_killed_runner_takes_its_points_with_it(cluster: Cluster, module: Make) -> None:
    folder = module("patient", PATIENT, CAREFUL.format(name="patient"))
    job = cluster.detach(str(folder))
    wait_until(lambda: "points" in cluster.parcs("logs", job).stdout, "the points answer", 60)
    container, url = cluster.container_of(job, "runner")
    subprocess.run(["docker", "--host", url, "kill", container], check=True, capture_output=True)
    cluster.wait_clean(15)
    row = next(r for r in cluster.json("jobs") if r["job"] == job)
    assert (row["state"], row["exit_code"]) == ("failed", 137)
    assert "SIGKILL" in row["why"]


def test_a_killed_program_outside_leaves_nothing(cluster: Cluster, module: Make) -> None:
    cluster.parcs("module", "push", str(module("patient", PATIENT)))
    script = (
        f"import parcs, time\nengine = parcs.connect({cluster.url!r})\n"
        "points = engine.run_all('patient', 2)\nprint('up', flush=True)\ntime.sleep(100)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=cluster.environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert cluster.services_of_jobs()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cluster.wait_clean(15)


def test_the_engine_server_is_killed_and_jobs_go_on(cluster: Cluster, module: Make) -> None:
    runner = (
        "import time\nfrom parcs.server import Runner, serve\nclass R(Runner):\n    def run(self):\n"
        "        a = self.engine.run_all('patient', 2)\n        print('up', flush=True)\n        time.sleep(6)\n"
        "        b = self.engine.run('patient')\n        for p in [*a, b]:\n            p.send(p.name)\n"
        "        return [p.recv() for p in [*a, b]]\nserve(R())\n"
    )
    job = cluster.detach(str(module("patient", PATIENT, runner)))
    wait_until(lambda: "up" in cluster.parcs("logs", job).stdout, "the first points are up", 60)
    text = cluster.lab.nodes[0].docker("ps", "--filter", f"name={names.ENGINE}", "--format", "{{.ID}}")
    cluster.lab.nodes[0].docker("kill", text.strip())
    wait_until(
        lambda: any(r["job"] == job and r["result"] for r in cluster.json("jobs")), "the job ends well", 60
    )
    row = next(r for r in cluster.json("jobs") if r["job"] == job)
    assert row["result"] == ["patient-1", "patient-2", "patient-3"]
    assert row["state"] == "succeeded"


def test_a_missing_network_is_made_and_a_full_one_said(cluster: Cluster) -> None:
    _remove_everything(cluster)
    assert cluster.run("factor", N=100, P=2)["exit_code"] == 0
    found = networks.inspect(cluster.docker, names.NETWORK)
    assert found is not None
    assert networks.capacity(found) > 60_000
    _remove_everything(cluster)
    try:
        small = ("--attachable", "--subnet", "10.250.0.0/28", names.NETWORK)
        cluster.lab.nodes[0].docker("network", "create", "--driver", "overlay", *small)
        deploy.up(cluster.docker, print, cluster.lab.registry)
        with (
            cluster.engine() as engine,
            pytest.raises(errors.NoRoomError, match=r"the network 'parcs' has \d+ of its 13 addresses left"),
        ):
            engine.run_all("sleeper", 14)
    finally:
        _remove_everything(cluster)
        deploy.up(cluster.docker, print, cluster.lab.registry)


def _remove_everything(cluster: Cluster) -> None:
    cluster.parcs("engine", "down")
    wait_until(lambda: not tasks.find(cluster.docker, names.KIND), "the engine server is gone", 30)
    wait_until(lambda: _removed(cluster), "the network can be removed", 30)
    assert networks.inspect(cluster.docker, names.NETWORK) is None


def _removed(cluster: Cluster) -> bool:
    try:
        cluster.docker.delete(f"/networks/{names.NETWORK}")
    except errors.DockerError as error:
        return error.status == 404
    return True


def test_a_worker_is_no_place_to_ask(cluster: Cluster) -> None:
    worker = cluster.lab.nodes[1].url
    done = cluster.parcs("run", "factor", "--on", f"swarm+{worker}", code=2)
    assert "is a worker of its Swarm, and PARCS needs a manager: 10." in done.stderr


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """However soon a stranger is shown the door."""
    try:
        yield
    except OSError as error:
        assert error.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE), error


def test_strangers_at_the_doors_are_refused_and_harm_nobody(cluster: Cluster) -> None:
    service_port = (cluster.lab.nodes[0].address, names.OUTSIDE_PORT)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(512), b"\x16\x03\x01\x02\x00\x01", b""):
        with socket.create_connection(service_port, timeout=5) as stranger:
            stranger.settimeout(15)
            stranger.sendall(garbage)
            with _refused():
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
    with cluster.remote() as remote:
        assert remote.about()["version"] == parcs.__version__
    access = dict(
        line.removeprefix("export ").partition("=")[::2]
        for line in cluster.parcs("engine", "access").stdout.splitlines()
    )
    wrong = {**cluster.environment, **access, "PARCS_TOKEN": "0" * 64}
    for changed, message in (
        (wrong, "does not know this job's token"),
        ({**wrong, "PARCS_CERTIFICATE": "0" * 64}, "another certificate"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "parcs", "jobs"], env=changed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr
    right = {**cluster.environment, **access, "DOCKER_HOST": "unix:///nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "jobs"], env=right, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "refused" in cluster.log() or "left when it saw our proof" in cluster.log()


def _slow_square(x: int) -> int:
    time.sleep(0.2)
    return x * x


def test_a_manager_is_restarted_under_a_job(cluster: Cluster, module: Make) -> None:
    runner = (
        "import time\nfrom parcs.server import Runner, serve\nclass R(Runner):\n    def run(self):\n"
        "        a = self.engine.run('patient', resources={'constraints': ['node.role==worker']})\n"
        "        print('up', flush=True)\n        time.sleep(8)\n        a.send(1)\n"
        "        return a.recv()\nserve(R())\n"
    )
    folder = module("patient", PATIENT, runner)
    cluster.parcs("module", "push", str(folder))
    with cluster.remote() as remote:
        where = {"constraints": ["node.role==worker"]}
        job = str(remote.run(f"{cluster.lab.registry}/patient", {}, where)["job"])
    wait_until(lambda: "up" in cluster.parcs("logs", job).stdout, "the point is up", 60)
    cluster.lab.restart_engine("node1")
    cluster.wait_whole()
    wait_until(lambda: any(r["job"] == job and r["result"] == 1 for r in _jobs(cluster)), "it ends well", 90)


def _jobs(cluster: Cluster) -> list[dict[str, object]]:
    """The jobs, or none while the engine server is on its way back."""
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "jobs", "--json"],
        env=cluster.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else []


def test_strangers_at_a_points_own_port_are_refused_and_logged(cluster: Cluster, module: Make) -> None:
    folder = module("patient", PATIENT, CAREFUL.format(name="patient"))
    job = cluster.detach(str(folder))
    wait_until(lambda: "points" in cluster.parcs("logs", job).stdout, "the points answer", 60)
    service = next(s for s in services.find(cluster.docker, names.JOB) if s.name == f"{job}-patient-1")
    environment = service.spec["TaskTemplate"]["ContainerSpec"]["Env"]
    call = next(line.partition("=")[2] for line in environment if line.startswith("PARCS_CALL="))
    host, port = call.removeprefix("tcp://").split(":")
    script = (
        "import os, socket\n"
        "for data in (os.urandom(300), b'GET / HTTP/1.1\\r\\n\\r\\n', b'', b'PARCS\\0002\\n' + os.urandom(200)):\n"
        f"    s = socket.create_connection(({host!r}, {port}), timeout=5)\n"
        "    s.sendall(data)\n    s.settimeout(0.5)\n"
        "    try:\n        s.recv(4096)\n        s.sendall(bytes(300))\n        s.recv(4096)\n"
        "    except OSError:\n        pass\n    s.close()\n"
    )
    base = f"{cluster.lab.registry}/python:3-slim"
    cluster.lab.nodes[0].docker("run", "--rm", "--network", names.NETWORK, base, "python3", "-c", script)
    output = cluster.parcs("logs", job)
    assert "could not prove the job's token" in output.stdout + output.stderr
    time.sleep(1)
    assert next(r for r in cluster.json("jobs") if r["job"] == job)["state"] == "running"
    cluster.parcs("stop", job)


class _ReadOnly(BaseHTTPRequestHandler):
    """A Docker Engine behind somebody who lets people look and not touch."""

    docker: Docker

    def do_GET(self) -> None:
        answer = self.docker.api.get(f"{self.docker.api.base_url}{self.path}")
        self.send_response(answer.status_code)
        self.end_headers()
        self.wfile.write(answer.content)

    def do_POST(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b'{"message": "authorization denied by the proxy"}')

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def test_no_permission_is_said_plainly(cluster: Cluster) -> None:
    handler = type("Handler", (_ReadOnly,), {"docker": cluster.docker})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"swarm+tcp://127.0.0.1:{server.server_port}"
            done = cluster.parcs("module", "push", "pi", "--on", url, code=2)
        finally:
            server.shutdown()
            thread.join()
    assert "authorization denied by the proxy" in done.stderr
    assert "may not" in done.stderr
    assert "Traceback" not in done.stderr
