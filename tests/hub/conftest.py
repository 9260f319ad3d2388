"""Real hubs and executors, each a process of its own, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parcs.client import Hub
from parcs.sandbox import cgroup
from tests.conftest import wait_until

NOBODY = 65534


def free_port() -> int:
    """A port for a server that will go and come back.

    Below those that the system gives to clients: one that tries again and again to reach a port of theirs
    may in the end be connected to itself, and hold it.
    """
    while True:
        port = random.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class PostgreSQL:
    """A server of its own, in a folder of its own; a database for each test.

    Args:
        address: where others than this machine reach it as well.
    """

    def __init__(self, folder: Path, address: str = "") -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            if os.environ.get("CI"):
                pytest.fail("PostgreSQL is missing: apt-get install postgresql")
            pytest.skip("needs PostgreSQL: apt-get install postgresql")
        self._bin, self.folder, self._count = found[-1].parent, folder, 0
        self._as = (
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            if os.geteuid() == 0
            else []
        )
        self.port = free_port()
        folder.mkdir()
        if self._as:
            os.chown(folder, NOBODY, NOBODY)
            folder.parent.chmod(0o711)
        self._run("initdb", "-D", str(folder / "data"), "-U", "parcs", "-A", "trust", "--no-sync")
        self.hosts = ",".join(filter(None, ("127.0.0.1", address)))
        if address:
            with (folder / "data" / "pg_hba.conf").open("a") as file:
                file.write("host all all 10.0.0.0/8 trust\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder.parent / "postgres.log").open("ab")
        words = [
            str(self._bin / "postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            "-k",
            str(self.folder),
        ]
        self._process = subprocess.Popen(
            [*self._as, *words, "-c", f"listen_addresses={self.hosts}"], stdout=log, stderr=log, cwd="/"
        )
        log.close()
        wait_until(lambda: self._is_ready(), "PostgreSQL answers", 30)

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(20)
            self._process = None

    def database(self) -> str:
        """A new database's URL."""
        self._count += 1
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "parcs", f"hub{self._count}")
        return f"postgresql://parcs@127.0.0.1:{self.port}/hub{self._count}"

    def _is_ready(self) -> bool:
        done = subprocess.run(
            [self._bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
            capture_output=True,
        )
        return done.returncode == 0

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [*self._as, str(self._bin / program), *words], check=True, capture_output=True, cwd="/"
        )


class HubProcess:
    """One hub and its executors."""

    def __init__(self, folder: Path, database: str = "sqlite", **environment: str) -> None:
        self.folder, self.database = folder, database
        self.environment = {**os.environ, "PARCS_HOME": str(folder), "PYTHONUNBUFFERED": "1", **environment}
        for name in ("PARCS_HUB", "PARCS_HUB_TOKEN"):
            self.environment.pop(name, None)
        self.environment["XDG_CONFIG_HOME"] = str(folder / "config")
        self._temporary = Path(tempfile.mkdtemp(prefix="parcs-test-"))
        self._temporary.chmod(0o711)  # tasks that run as nobody come through
        self.environment["TMPDIR"] = str(self._temporary)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.log = folder / "hub.log"

    def start(self) -> None:
        """Start the hub, on the port that it had before."""
        words = ["hub", "--data", str(self.folder), "--database", self.database, "--port", str(self.port)]
        seen = self.log.stat().st_size if self.log.exists() else 0
        self.process = self.run_parcs(*words, log=self.log)
        process = self.process

        def address() -> re.Match[str] | None:
            assert process.poll() is None, self.log.read_text()[-3000:]
            return re.search(r"hub: http://127.0.0.1:(\d+)\n", self.log.read_text()[seen:])

        match = wait_until(address, "the hub says where it is", 30)
        self.port = int(match[1])
        import httpx2

        def is_ready() -> bool:
            with contextlib.suppress(httpx2.HTTPError):
                return httpx2.get(f"{self.url}/readyz").is_success
            return False

        wait_until(is_ready, "the hub is ready", 30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return str(json.loads((self.folder / "hub.json").read_text())["token"])

    def client(self, budget_s: float = 10.0) -> Hub:
        return Hub(self.url, self.token, budget_s=budget_s)

    def executor(self, *words: str, slots: int = 2, is_awaited: bool = True) -> subprocess.Popen[bytes]:
        """Start an executor, and wait until it is there."""
        number = len(self._processes)
        name = f"e{number}"
        process = self.run_parcs(
            "executor", "--hub", self.url, "--token-file", str(self.folder / "executor.token"), "--slots",
            str(slots), "--name", name, *words, log=self.folder / f"{name}.log",
        )  # fmt: skip
        if is_awaited:
            with self.client() as hub:
                wait_until(
                    lambda: any(e.name == name and e.state == "active" for e in hub.executors()),
                    f"{name} is there",
                    20,
                )
        return process

    def run_parcs(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as target:
            process = subprocess.Popen(
                [sys.executable, "-m", "parcs", *words], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=target, stderr=target, cwd=self.folder,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def parcs(self, *words: str, code: int = 0, stdin: str = "", cwd: Path | None = None) -> str:
        """Run a parcs command; gives what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "parcs", *words], env=self.environment, input=stdin, text=True, check=False,
            capture_output=True, timeout=50, cwd=cwd or self.folder,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        self.stderr = done.stderr
        return done.stdout

    def kill(self) -> None:
        """kill -9 of the hub."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGINT)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self._processes:
            wait_until(lambda pid=process.pid: cgroup.sweep(pid), "slots of killed executors end", 5)
        shutil.rmtree(self._temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    # Not below pytest's own folder: a second pytest on this machine would shut that to all but root.
    folder = Path(tempfile.mkdtemp(prefix="parcs-test-"))
    server = PostgreSQL(folder / "server")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Both databases, one after the other."""
    if request.param == "sqlite":
        return "sqlite"
    return str(request.getfixturevalue("postgresql").database())


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    """Hubs, as many as a test wants."""
    made: list[HubProcess] = []

    def make(database: str = "sqlite", **environment: str) -> HubProcess:
        folder = tmp_path / f"hub{len(made)}"
        folder.mkdir()
        hub = HubProcess(folder, database, **environment)
        made.append(hub)
        hub.start()
        return hub

    yield make
    for hub in made:
        hub.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub with one executor of two slots, for tests that leave it as it was."""
    hub = HubProcess(tmp_path_factory.mktemp("hub"))
    hub.start()
    hub.executor()
    yield hub
    hub.stop()


@pytest.fixture
def hub(shared: HubProcess) -> Iterator[Hub]:
    with shared.client() as client:
        yield client


def processes_with(mark: str) -> list[int]:
    """Processes whose command line has a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def ended(hub: Hub, *words: str, **more: Any) -> Any:
    """Submit, and wait until it is over."""
    return hub.wait(hub.submit(list(words), **more).first, 30)
