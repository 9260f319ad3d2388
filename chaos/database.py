"""A replicated PostgreSQL on three hosts: etcd decides who is the primary, Patroni sees that it is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

VERSION: Final = "4.1.5"
"""Of Patroni. Debian's 3.0.2 loses acknowledged rows when a primary that was cut off comes back."""
USER: Final = 65534
NAME: Final = "hub"
_VENV: Final = Path("/var/tmp") / f"parcs-patroni-{VERSION}-{os.getuid()}"


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
        wanted = [f"patroni[etcd3,psycopg3]=={VERSION}", "psycopg[binary]"]
        subprocess.run([*pip, "--disable-pip-version-check", *wanted], check=True)
    return program


def etcd_words(name: str, address: str, folder: Path, members: Mapping[str, str]) -> list[str]:
    """How etcd is started; ``members`` are all addresses, by name."""
    return [
        "etcd", "--name", name, "--data-dir", str(folder / "etcd"), "--pre-vote=true",
        "--listen-client-urls", f"http://{address}:2379,http://127.0.0.1:2379",
        "--advertise-client-urls", f"http://{address}:2379",
        "--listen-peer-urls", f"http://{address}:2380", "--initial-advertise-peer-urls", f"http://{address}:2380",
        "--initial-cluster", ",".join(f"{n}=http://{a}:2380" for n, a in members.items()),
        "--initial-cluster-state", "new", "--log-level", "error",
    ]  # fmt: skip


def patroni_words(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """How Patroni is started: with an environment that only it has, and not who makes it another user."""
    return [
        "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env",
        *(f"{name}={value}" for name, value in environment.items()),
        str(patroni()), str(folder / "patroni.json"),
    ]  # fmt: skip


def configure(name: str, address: str, folder: Path, addresses: Sequence[str]) -> None:
    """Write what Patroni reads (JSON is YAML), and make its folders."""
    data = folder / "postgresql"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    configuration: dict[str, Any] = {
        "scope": "parcs",
        "name": name,
        "restapi": {"listen": f"{address}:8008", "connect_address": f"{address}:8008"},
        "etcd3": {"hosts": [f"{each}:2379" for each in addresses]},
        "bootstrap": {
            "dcs": {
                "ttl": 20, "loop_wait": 2, "retry_timeout": 5, "synchronous_mode": True, "failsafe_mode": True,
                "primary_start_timeout": 0, "maximum_lag_on_failover": 16 << 20,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {"max_connections": 100, "wal_keep_size": "128MB", "shared_buffers": "64MB"},
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "no-sync"],
        },
        "postgresql": {
            "listen": f"{address},127.0.0.1:5432", "connect_address": f"{address}:5432",
            "data_dir": str(data / "data"), "bin_dir": str(postgresql()), "pgpass": str(data / "pgpass"),
            "basebackup": [{"checkpoint": "fast"}], "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "authentication": {"superuser": {"username": "postgres"}, "replication": {"username": "replicator"}},
            "parameters": {"unix_socket_directories": str(data), "log_min_messages": "warning"},
            "pg_hba": ["local all all trust", "host all all 0.0.0.0/0 trust",
                       "host replication all 0.0.0.0/0 trust"],
        },
    }  # fmt: skip
    (folder / "patroni.json").write_text(json.dumps(configuration, indent=1))
