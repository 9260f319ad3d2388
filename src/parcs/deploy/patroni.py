"""How etcd and Patroni are set up for a PostgreSQL that loses nothing when a machine dies. Pure.

Every figure here was tried with machines killed, cut off and healed (docs/ha.md, `python -m chaos`):

- a synchronous standby (``synchronous_mode``): what is acknowledged is on two machines;
- ``ttl`` 20: so long at least, Patroni says; a dead primary is missed after as much;
- ``failsafe_mode``: a primary stays one while etcd is away, if it reaches every other server;
- ``primary_start_timeout`` 0: a server that crashed is not waited for;
- what a server that comes back has beyond its new primary is taken away, with all its data if need be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "4.1.5"
"""Of Patroni. Debian 12's 3.0.2 loses acknowledged rows when a primary that was cut off comes back."""
ETCD_PORT: Final = 2379
API_PORT: Final = 8008


class Server(NamedTuple):
    """One of the servers.

    Args:
        address: where the others reach it: a name, or an address.
        listen: what it listens at.
        folder: has its data.
        programs: the folder of PostgreSQL's own.
    """

    name: str
    address: str
    listen: str
    folder: Path
    programs: Path


def etcd(server: Server, members: Mapping[str, str]) -> list[str]:
    """The command of etcd; ``members`` are all servers' addresses, by name."""
    own = f"http://{server.address}"
    listen = f"http://{server.listen}"
    clients = listen if server.listen == "0.0.0.0" else f"{listen}:{ETCD_PORT},http://127.0.0.1"  # noqa: S104  # compared
    return [
        "etcd", "--name", server.name, "--data-dir", str(server.folder / "etcd"), "--pre-vote=true",
        "--listen-client-urls", f"{clients}:{ETCD_PORT}", "--advertise-client-urls", f"{own}:{ETCD_PORT}",
        "--listen-peer-urls", f"{listen}:2380", "--initial-advertise-peer-urls", f"{own}:2380",
        "--initial-cluster", ",".join(f"{name}=http://{address}:2380" for name, address in members.items()),
        "--initial-cluster-state", "new", "--log-level", "error",
    ]  # fmt: skip


def patroni(
    server: Server,
    addresses: Sequence[str],
    authentication: Mapping[str, Any],
    access: Sequence[str],
    bootstrap: Mapping[str, Any],
) -> dict[str, Any]:
    """Patroni's settings: JSON, which is YAML.

    Args:
        addresses: of all servers.
        authentication: of superuser and replication.
        access: the lines of pg_hba.conf.
        bootstrap: what else the first server of all does in the beginning.
    """
    data = server.folder / "postgresql"
    return {
        "scope": "parcs",
        "name": server.name,
        "restapi": {
            "listen": f"{server.listen}:{API_PORT}",
            "connect_address": f"{server.address}:{API_PORT}",
        },
        "etcd3": {"hosts": [f"{address}:{ETCD_PORT}" for address in addresses]},
        "bootstrap": {
            "dcs": {
                "ttl": 20, "loop_wait": 2, "retry_timeout": 5, "synchronous_mode": True, "failsafe_mode": True,
                "primary_start_timeout": 0, "maximum_lag_on_failover": 16 << 20,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {"max_connections": 100, "wal_keep_size": "128MB"},
                },
            },
            **bootstrap,
        },
        "postgresql": {
            "listen": f"{server.listen}:5432" if server.listen == "0.0.0.0" else f"{server.listen},127.0.0.1:5432",  # noqa: S104
            "connect_address": f"{server.address}:5432",
            "data_dir": str(data / "data"), "bin_dir": str(server.programs), "pgpass": str(data / "pgpass"),
            # Without it a new replica waits for the next checkpoint, which may be minutes away.
            "basebackup": [{"checkpoint": "fast"}],
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "authentication": dict(authentication),
            "parameters": {"unix_socket_directories": str(data), "log_min_messages": "warning"},
            "pg_hba": list(access),
        },
    }  # fmt: skip


def is_whole(cluster: Any, count: int) -> bool:
    """Whether what Patroni says of its cluster is that every server follows the primary, one synchronously."""
    if not isinstance(cluster, dict):
        return False
    members = [(each.get("role"), each.get("state")) for each in cluster.get("members", ())]
    following = [role for role, state in members if state == "streaming"]
    return len(following) == count - 1 and "sync_standby" in following and ("leader", "running") in members
