"""One server of the replicated database, in its container: ``python -m parcs.deploy.node``

Starts etcd and Patroni, and starts each again when it ends. Its data are in ``/var/lib/parcs-database``.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

from parcs.deploy import patroni

FOLDER: Final = Path("/var/lib/parcs-database")
NAME: Final = "PARCS_DATABASE_NAME"
MEMBERS: Final = "PARCS_DATABASE_MEMBERS"
"""The names of all servers, with commas between them; each is also where it is reached."""
PASSWORD: Final = Path("/run/secrets/parcs-database-password")
DATABASE: Final = "hub"
ROLE: Final = "parcs"
_AGAIN_S: Final = 1.0
_END_S: Final = 25.0
_ACCESS: Final = (
    "local all all trust",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host replication replicator all scram-sha-256",
    "host all all all scram-sha-256",
)


def main() -> None:
    """The container's whole life; or, with ``bootstrap URL``, what Patroni asks for once."""
    if sys.argv[1:2] == ["bootstrap"]:
        _bootstrap(sys.argv[2])
        return
    if sys.argv[1:2] == ["look"]:
        _look(os.environ[MEMBERS].split(","))
        return
    name, members = os.environ[NAME], os.environ[MEMBERS].split(",")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    server = patroni.Server(name, name, "0.0.0.0", FOLDER, programs)  # noqa: S104  # its network is the cluster's own
    settings = _prepare(server, members)
    user = pwd.getpwnam("postgres")
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    environment = {**os.environ, "HOME": str(FOLDER / "postgresql")}
    is_over = threading.Event()
    threads = [
        threading.Thread(target=_keep, args=([*drop, *words], environment, is_over))
        for words in (
            patroni.etcd(server, dict(zip(members, members, strict=True))),
            [sys.executable, "-m", "patroni", str(settings)],
        )
    ]
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: is_over.set())
    for thread in threads:
        thread.start()
    while not is_over.wait(1.0):
        pass
    for thread in threads:
        thread.join()


def _look(members: list[str]) -> None:
    """Return when every server follows the primary, one of them synchronously."""
    while not any(patroni.is_whole(_asked(member), len(members)) for member in members):
        time.sleep(0.5)


def _asked(member: str) -> object:
    try:
        with urllib.request.urlopen(f"http://{member}:{patroni.API_PORT}/cluster", timeout=2) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def _prepare(server: patroni.Server, members: list[str]) -> Path:
    password = PASSWORD.read_text().strip()
    authentication = {
        "superuser": {"username": "postgres", "password": password},
        "replication": {"username": "replicator", "password": password},
    }
    bootstrap = {
        "initdb": [{"encoding": "UTF8"}, "data-checksums", {"auth-host": "scram-sha-256"}],
        "post_bootstrap": f"{sys.executable} -m parcs.deploy.node bootstrap",
    }
    made = patroni.patroni(server, members, authentication, _ACCESS, bootstrap)
    for folder in (FOLDER, FOLDER / "postgresql", FOLDER / "etcd"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.chown(folder, "postgres", "postgres")
    settings = FOLDER / "patroni.json"
    descriptor = os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(made, file, indent=1)
    shutil.chown(settings, "postgres", "postgres")
    secret = FOLDER / "password"  # the container's own is root's alone, and the role is made by who is not
    secret.write_text(password)
    secret.chmod(0o400)
    shutil.chown(secret, "postgres", "postgres")
    return settings


def _keep(words: list[str], environment: dict[str, str], is_over: threading.Event) -> None:
    """Have a program run, until all is over."""
    while not is_over.is_set():
        process = subprocess.Popen(words, env=environment, start_new_session=True)
        while process.poll() is None and not is_over.wait(0.2):
            pass
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
        is_over.wait(_AGAIN_S)


def _bootstrap(url: str) -> None:
    """The hubs' role and database, in a new PostgreSQL."""
    script = (
        f"\\set password `cat {FOLDER / 'password'}`\n"  # not among the arguments, which are for all to see
        f"CREATE ROLE {ROLE} LOGIN PASSWORD :'password';\n"
        f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n"
    )
    words = ["psql", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", url]
    subprocess.run(words, input=script, text=True, check=True)


if __name__ == "__main__":
    main()
