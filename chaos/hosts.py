"""Hosts: a network namespace, a small disk, and programs that are started again when they end, as on a machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from chaos import database
from parcs.deploy import patroni
from parcs.lab import system
from parcs.lab.network import Network, free_prefix

_DISK: Final = "1500m"
_AGAIN_S: Final = 1.0
_PREFIX: Final = "ch"
"""Of a network's name; the number of the process that made it follows."""


class Program:
    """One program of a host."""

    def __init__(self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self._words, self._log, self._environment = name, words, log, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0.0
        self.is_wanted = False

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def keep(self) -> None:
        """Start it, if it should run and does not."""
        if self.is_wanted and self.pid is None and time.monotonic() - self._since > _AGAIN_S:
            self._since = time.monotonic()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._words, env=dict(self._environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, cwd="/",
                )  # fmt: skip

    def family(self) -> list[int]:
        """Its process and all below it."""
        if (pid := self.pid) is None:
            return []
        try:
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def send(self, sign: signal.Signals) -> None:
        """A signal for all of it."""
        system.end(self.family(), sign)

    def reap(self) -> None:
        """Take note of its end."""
        if self._process is not None:
            self._process.wait(20)


class Host:
    """One machine: etcd, Patroni with PostgreSQL, a hub, an executor."""

    def __init__(self, network: Network, number: int, folder: Path, count: int) -> None:
        self.network, self.number = network, number
        self.name, self.address = f"node{number}", network.address(number)
        self.namespace = network.namespace(number)
        self.disk, self.logs = folder / self.name, folder / "logs"
        self._filler = self.disk / "filler"
        self.clock = folder / f"{self.name}.clock"
        self._addresses = [network.address(i) for i in range(1, count + 1)]
        self.programs: dict[str, Program] = {}

    def create(self, secrets: Path) -> None:
        """The host, with nothing running."""
        self.network.add_node(self.number)
        self.disk.mkdir()
        system.run("mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "none", str(self.disk))
        self.clock.write_bytes(struct.pack("d", 0.0))
        self.clock.chmod(0o644)
        (self.disk / "home").mkdir()
        server = database.server(self.name, self.address, self.disk)
        database.configure(server, self._addresses)
        members = {f"node{i}": address for i, address in enumerate(self._addresses, 1)}
        hubs = ",".join(f"http://{address}:7000" for address in self._addresses)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        plain = {**kept, "HOME": str(self.disk / "home"), "LANG": "C.UTF-8"}
        skewed = {
            "LD_PRELOAD": str(self.clock.with_name("skew.so")),
            "SKEW_FILE": str(self.clock),
        }
        parcs = {
            **plain, **skewed, "PYTHONUNBUFFERED": "1", "PARCS_HOME": str(self.disk / "parcs"),
            "TMPDIR": str(self.disk),
            "PARCS_HUB_DATABASE": f"postgresql://parcs@{','.join(self._addresses)}/{database.NAME}",
            "PARCS_HUB_ADMIN_TOKEN_FILE": str(secrets / "admin"),
            "PARCS_HUB_EXECUTOR_TOKEN_FILE": str(secrets / "executor"),
            "PARCS_HUB_ADDRESS": f"http://{self.address}:7000", "PARCS_HUB_REQUESTS_PER_S": "0",
        }  # fmt: skip
        python = os.path.abspath(".venv/bin/python") if Path(".venv").exists() else "python3"
        self._add("etcd", patroni.etcd(server, members), plain)
        home = {**plain, "HOME": str(self.disk / "postgresql")}
        self._add("patroni", database.patroni_words(self.disk, skewed), home)
        self._add("hub", [python, "-m", "parcs", "hub", "--host", "0.0.0.0"], parcs)
        executor = ["executor", "--hub", hubs, "--slots", "2", "--name", self.name, "--token-file"]
        self._add("executor", [python, "-m", "parcs", *executor, str(secrets / "executor")], parcs)

    def _add(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> None:
        inside = system.in_network(self.namespace, words)
        self.programs[name] = Program(name, inside, self.logs / f"{self.name}-{name}.log", environment)

    def start(self, *names: str) -> None:
        """Have programs run; all, if none is named."""
        for name in names or self.programs:
            self.programs[name].is_wanted = True

    def die(self) -> None:
        """The power fails."""
        for program in self.programs.values():
            program.is_wanted = False
        for _ in range(3):
            system.end(system.processes_of(Path(f"/run/netns/{self.namespace}"), "net"))
            time.sleep(0.05)
        for program in self.programs.values():
            program.reap()

    def cut(self, way: str, other: Host | None = None) -> None:
        """Lose packets: way is ``both``, ``in`` or ``out``; of one other host, or of all."""
        for chain, option in (("INPUT", "-s"), ("OUTPUT", "-d")):
            if way in ("both", chain[:-3].lower()):
                whose = (
                    [option, f"{other.address}/32"]
                    if other
                    else ["!", "-i" if option == "-s" else "-o", "lo"]
                )
                self._iptables("-A", chain, *whose, "-j", "DROP")

    def heal(self) -> None:
        """The network is as it was."""
        self._iptables("-F")

    def _iptables(self, *words: str) -> None:
        system.run("ip", "netns", "exec", self.namespace, "iptables", "-w", *words)

    def fill(self) -> None:
        """Leave no room on the disk."""
        with contextlib.suppress(OSError), self._filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()

    def empty(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def set_clock(self, offset_s: float) -> None:
        """Its clock is wrong by so much."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", offset_s))

    def database(self) -> list[int]:
        """Every process of Patroni and of PostgreSQL: those of their user."""
        here = system.processes_of(Path(f"/run/netns/{self.namespace}"), "net")
        return [pid for pid in here if _user_of(pid) == database.USER]

    def postmaster(self) -> int | None:
        """PostgreSQL's first process."""
        try:
            pid = int((self.disk / "postgresql/data/postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if system.is_running(pid) else None

    def is_primary(self) -> bool:
        """Whether Patroni here says so."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:8008/patroni", timeout=1) as answer:
                return bool(json.load(answer).get("role") == "primary")
        except (OSError, ValueError):
            return False

    def remove(self) -> None:
        """End it and delete what belongs to it."""
        self.die()
        system.run("umount", "--lazy", str(self.disk), is_checked=False)


def _user_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def sweep() -> None:
    """Take away what runs that were killed have left."""
    for file in Path("/run/netns").glob(f"{_PREFIX}*-net"):
        name = file.name.removesuffix("-net")
        with contextlib.suppress(ValueError):
            if not system.is_running(int(name.removeprefix(_PREFIX), 16)):
                network = Network(name, "10.0.0")
                for host in Path("/run/netns").glob(f"{name}-node*"):
                    system.end(system.processes_of(host, "net"))
                network.remove()


class Hosts:
    """Several hosts, and what keeps their programs running."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.folder = folder
        self.network = Network(f"{_PREFIX}{os.getpid():x}", free_prefix())
        self.all = [Host(self.network, i, folder, count) for i in range(1, count + 1)]
        self.urls = ",".join(f"http://{host.address}:7000" for host in self.all)
        self.token = ""
        self._is_over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def up(self) -> None:
        """Create and start all, and wait until every hub and executor is there."""
        import secrets

        self.folder.chmod(0o755)
        (self.folder / "logs").mkdir()
        kept = self.folder / "secrets"
        kept.mkdir(mode=0o700)
        self.token = secrets.token_urlsafe(32)
        (kept / "admin").write_text(self.token)
        (kept / "executor").write_text(secrets.token_urlsafe(32))
        database.patroni()
        source = Path(__file__).with_name("skew.c")
        compiler = ["g++", "-x", "c", "-shared", "-fPIC", "-O2", "-o"]
        system.run(*compiler, str(self.folder / "skew.so"), str(source))
        self.network.create()
        for host in self.all:
            host.create(kept)
            host.start("etcd", "patroni")
        self._keeper.start()
        self._create_database()
        self._wait_for_replicas()
        for host in self.all:
            host.start()

    def _create_database(self) -> None:
        import psycopg

        dsn = f"host={','.join(h.address for h in self.all)} user=postgres dbname=postgres connect_timeout=2"
        deadline = time.monotonic() + 90
        while True:
            try:
                with psycopg.connect(f"{dsn} target_session_attrs=read-write", autocommit=True) as connection:
                    connection.execute("CREATE ROLE parcs LOGIN")
                    connection.execute(f"CREATE DATABASE {database.NAME} OWNER parcs")
                    return
            except psycopg.errors.DuplicateObject:
                return
            except psycopg.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _wait_for_replicas(self) -> None:
        deadline = time.monotonic() + 90
        while not self.are_whole():
            if time.monotonic() > deadline:
                raise SystemExit(f"the replicas do not come up; see {self.folder / 'logs'}")
            time.sleep(0.5)

    def are_whole(self) -> bool:
        """Whether every replica follows the primary, one of them synchronously, as some host says."""
        for host in self.all:
            try:
                with urllib.request.urlopen(f"http://{host.address}:8008/cluster", timeout=1) as answer:
                    return patroni.is_whole(json.load(answer), len(self.all))
            except (OSError, ValueError):
                continue
        return False

    def primary(self) -> Host | None:
        """Whichever says that it is the primary."""
        return next((host for host in self.all if host.is_primary()), None)

    def heal(self) -> None:
        """Everything is as it should be, or will be in a while."""
        for host in self.all:
            host.heal()
            host.empty()
            host.set_clock(0)
            host.start()

    def down(self) -> None:
        """End all of it."""
        self._is_over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for host in self.all:
            host.remove()
        self.network.remove()

    def _keep(self) -> None:
        while not self._is_over.wait(0.2):
            for host in self.all:
                for program in host.programs.values():
                    program.keep()
