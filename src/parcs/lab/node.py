"""One node of a lab: a Docker Engine in a network namespace, with a host name and folders of its own.

`ip netns exec` does not do: it mounts /sys again, and the engine then finds no control groups. So the
namespaces are entered with nsenter and unshare. Containers are put below a control group of the node's own,
which is how all of them are found when the node is to die as a machine does.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from parcs import errors
from parcs.lab import system
from parcs.lab.network import Network

_CGROUPS = Path("/sys/fs/cgroup")
_READY_S = 30.0
_BIRTH_S = 2.0


class Node:
    """Node ``number`` of a lab.

    Attributes:
        folder: what belongs to it; the engine's socket is ``docker.sock`` in there.
    """

    def __init__(self, network: Network, number: int, folder: Path, gpus: int = 0) -> None:
        self.network, self.number, self.folder, self._gpus = network, number, folder, gpus
        self.name = f"node{number}"

    @property
    def socket(self) -> Path:
        """Where its Docker Engine listens."""
        return self.folder / "docker.sock"

    @property
    def url(self) -> str:
        """Its Docker Engine, as DOCKER_HOST takes it."""
        return f"unix://{self.socket}"

    @property
    def address(self) -> str:
        """Its address in the lab's network."""
        return self.network.address(self.number)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "docker.pid"

    @property
    def _cgroup(self) -> str:
        return f"parcs-lab/{self.network.name}/{self.name}"

    @property
    def log(self) -> Path:
        """What its engine printed."""
        return self.folder / "dockerd.log"

    def start(self) -> None:
        """Start the engine; `wait` waits for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "daemon.json"  # not the one of the machine's own engine
        configuration.write_text("{}")
        words = [
            system.find_tool("dockerd") or "dockerd",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self._pid_file}",
            f"--host={self.url}",
            "--host=unix:///run/docker.sock",
            f"--insecure-registry={self.network.registry}",
            f"--dns={self.network.service_address}",
            f"--cgroup-parent=/{self._cgroup}",
            "--log-driver=json-file",
            f"--config-file={configuration}",
            *([f"--node-generic-resource=gpu={self._gpus}"] if self._gpus else []),
        ]
        script = (
            # a /run of its own, so that its socket is where every Docker machine has it
            f"hostname {self.name}; mount -t tmpfs none /run; mkdir -p /run/docker; exec {shlex.join(words)}"
        )
        apart = ["unshare", "--mount", "--uts", "--propagation", "slave", "sh", "-c", script]
        namespace = self.network.namespace(self.number)
        system.start(system.in_network(namespace, apart), self.log)

    def wait(self) -> None:
        """Wait until the engine answers.

        Raises:
            LabError: it does not; the message has what it printed last.
        """
        what = f"{self.name}'s Docker Engine"
        begun = time.monotonic()

        def is_up_or_dead() -> bool:
            return self.is_up() or (time.monotonic() - begun > _BIRTH_S and not self._processes())

        system.wait_until(is_up_or_dead, _READY_S, what, self.log)
        if not self.is_up():
            raise errors.LabError(f"{what} ended at once:\n{system.tail(self.log)}")

    def is_up(self) -> bool:
        """Whether its engine answers."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(1.0)
                sock.connect(str(self.socket))
                sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200 OK" in sock.recv(64)
        except OSError:
            return False

    def docker(self, *words: str, text: str = "") -> str:
        """Run a docker command against it, with ``text`` as its input."""
        return system.run("docker", "--host", self.url, *words, text=text)

    def kill(self) -> None:
        """End engine and containers at once, as a power failure does."""
        for _ in range(3):  # what is starting while we look is found the next time
            system.end(self._processes())
            time.sleep(0.02)
        deadline = time.monotonic() + 5.0
        while self._processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    def stop_engine(self) -> None:
        """Ask the engine to end, and wait until it has."""
        pid = self._engine()
        if pid is not None:
            system.end([pid], signal.SIGTERM)
            system.wait_until(lambda: not system.is_running(pid), _READY_S, f"the end of {self.name}")

    def remove(self) -> None:
        """End it and delete what belongs to it."""
        self.kill()
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1] for line in file if line.split()[1].startswith(f"{self.folder}/")]
        for mount in sorted(mounts, reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        for hierarchy in _hierarchies():
            top = hierarchy / self._cgroup
            for folder, _, _ in os.walk(top, topdown=False):
                Path(folder).rmdir()

    def _engine(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if system.is_running(pid) else None

    def _processes(self) -> list[int]:
        """The engine, everything it started in its mount namespace, and all containers' processes."""
        found: set[int] = set()
        network = Path(f"/run/netns/{self.network.namespace(self.number)}")
        found.update(system.processes_of(network, "net"))
        engine = self._engine()
        if engine is not None:
            found.update(system.processes_of(Path(f"/proc/{engine}/ns/mnt"), "mnt"))
        for hierarchy in _hierarchies():
            for file in (hierarchy / self._cgroup).rglob("cgroup.procs"):
                try:
                    found.update(map(int, file.read_text().split()))
                except OSError:
                    continue  # the group ended while we looked
        return sorted(found)


def _hierarchies() -> list[Path]:
    """Where control groups are mounted: one folder (version 2), or one for each controller (version 1)."""
    if (_CGROUPS / "cgroup.procs").exists():
        return [_CGROUPS]
    return [folder for folder in _CGROUPS.iterdir() if (folder / "cgroup.procs").exists()]
