"""A replicated PostgreSQL on three hosts: etcd decides who is the primary, Patroni sees that it is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from parcs.deploy import patroni as settings

USER: Final = 65534
NAME: Final = "hub"
_VENV: Final = Path("/var/tmp") / f"parcs-patroni-{settings.VERSION}-{os.getuid()}"


def check() -> None:
    """Whether this machine has what is needed.

    Raises:
        SystemExit: it has not; the message has the command that changes it.
    """
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if not postgresql().exists():
        missing.append("postgresql")
    if os.geteuid() != 0:
        raise SystemExit("this needs root (network namespaces): run it with sudo")
    if missing:
        raise SystemExit(
            f"this needs programs that are not installed: apt-get install -y {' '.join(missing)}"
        )


_TOOLS: Final = {
    "ip": "iproute2", "iptables": "iptables", "etcd": "etcd-server", "setpriv": "util-linux", "g++": "g++",
}  # fmt: skip


def postgresql() -> Path:
    """The folder of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else Path("/nonexistent")


def patroni() -> Path:
    """Patroni's program, installed if need be, where a user without rights can read it."""
    program = _VENV / "bin" / "patroni"
    if not program.exists():
        shutil.rmtree(_VENV, ignore_errors=True)
        # The system's own Python: one in somebody's home is often for nobody else to read.
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(_VENV)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(_VENV / "bin" / "python"), "install", "--quiet"]
        wanted = [f"patroni[etcd3,psycopg3]=={settings.VERSION}", "psycopg[binary]"]
        subprocess.run([*pip, "--disable-pip-version-check", *wanted], check=True)
    return program


def server(name: str, address: str, folder: Path) -> settings.Server:
    """One of the servers, as the product sets it up."""
    return settings.Server(name, address, address, folder, postgresql())


def patroni_words(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """How Patroni is started: with an environment that only it has, and not who makes it another user."""
    return [
        "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env",
        *(f"{name}={value}" for name, value in environment.items()),
        str(patroni()), str(folder / "patroni.json"),
    ]  # fmt: skip


def configure(server: settings.Server, addresses: Sequence[str]) -> None:
    """Write what Patroni reads, and make its folders."""
    data = server.folder / "postgresql"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    authentication = {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}}
    access = ("local all all trust", "host all all 0.0.0.0/0 trust", "host replication all 0.0.0.0/0 trust")
    bootstrap = {"initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "no-sync"]}
    made = settings.patroni(server, addresses, authentication, access, bootstrap)
    (server.folder / "patroni.json").write_text(json.dumps(made, indent=1))
