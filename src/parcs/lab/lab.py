"""A lab as a whole: up, down, and the faults one can give it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from parcs import errors
from parcs.lab import base_image, network, system
from parcs.lab.network import Network
from parcs.lab.node import Node

RUN = Path("/run/parcs-lab")
DATA = Path("/var/lib/parcs-lab")
BASE = "python:3-slim"


class Plan(NamedTuple):
    """What a lab has. ``gpus`` are pretended ones (generic resources) of each node."""

    nodes: int = 3
    managers: int = 1
    gpus: int = 0
    password: str = ""
    """Set: the registry wants user ``parcs`` with this password."""


class Lab:
    """One lab, known by its name. Up if its state file is there."""

    def __init__(self, name: str, prefix: str, plan: Plan) -> None:
        self.name, self.plan = name, plan
        self.network = Network(name, prefix)
        self.folder = DATA / name
        self.nodes = [
            Node(self.network, number, self.folder / f"node{number}", plan.gpus)
            for number in range(1, plan.nodes + 1)
        ]

    @property
    def registry(self) -> str:
        """Its registry, as it stands before an image's name."""
        return self.network.registry

    @property
    def docker_config(self) -> Path:
        """A configuration for the docker command, with the registry's user and password if it wants them."""
        return self.folder / "docker"

    @property
    def url(self) -> str:
        """A manager's Docker Engine."""
        return next((node for node in self.nodes[: self.plan.managers] if node.is_up()), self.nodes[0]).url

    @classmethod
    def up(cls, name: str, plan: Plan, tell: Callable[[str], None] = lambda text: None) -> Self:
        """Bring a lab up; what a failed start made is removed again.

        Args:
            tell: is given a line for each step.

        Raises:
            LabError: the machine lacks something, a lab of this name is up, or a step failed.
        """
        system.check()
        if not 1 <= plan.managers <= plan.nodes <= 64:
            raise errors.LabError(
                f"{plan.nodes} nodes with {plan.managers} managers: there can be 1 to 64 nodes, "
                "and at most all of them managers"
            )
        with _lock():
            if _state_file(name).exists():
                raise errors.LabError(f"the lab {name!r} is up already; see it with: parcs lab status")
            lab = cls(name, network.free_prefix(), plan)
            try:
                lab._sweep()
                lab._raise(tell)
            except BaseException:
                lab._sweep()
                raise
            _write_state(lab)
        return lab

    @classmethod
    def find(cls, name: str) -> Self:
        """The lab of this name.

        Raises:
            LabError: there is none up.
        """
        try:
            state = json.loads(_state_file(name).read_text())
        except FileNotFoundError:
            raise errors.LabError(f"no lab {name!r} is up; bring one up with: parcs lab up") from None
        except PermissionError:
            raise errors.LabError("a lab belongs to root: run this with sudo") from None
        return cls(name, state["prefix"], Plan(**state["plan"]))

    @staticmethod
    def names() -> list[str]:
        """The labs that are up."""
        return sorted(file.stem for file in RUN.glob("*.json"))

    def node(self, name: str) -> Node:
        """The node called ``name``.

        Raises:
            LabError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise errors.LabError(f"no node {name!r}; there are {', '.join(node.name for node in self.nodes)}")

    def down(self) -> None:
        """End it and remove everything of it, but not the base image, which the next lab uses again."""
        with _lock():
            self._sweep()
            _state_file(self.name).unlink(missing_ok=True)

    def cut(self, name: str) -> None:
        """Pull a node's cable."""
        self.network.cut(self.node(name).number)

    def heal(self, name: str) -> None:
        """Plug it in; also takes delay and loss away, and starts a killed node again."""
        node = self.node(name)
        self.network.heal(node.number)
        if not node.is_up():
            node.start()
            node.wait()

    def slow(self, name: str, delay: str, loss: str) -> None:
        """Delay (as ``20ms``) and lose (as ``1%``) what goes to a node and comes from it."""
        self.network.slow(self.node(name).number, delay, loss)

    def kill(self, name: str) -> None:
        """End a node as a power failure does; `heal` starts it again."""
        node = self.node(name)
        self.network.cut(node.number)
        node.kill()

    def restart_engine(self, name: str) -> None:
        """Stop a node's Docker Engine in good order and start it again."""
        node = self.node(name)
        node.stop_engine()
        node.start()
        node.wait()

    def status(self) -> list[dict[str, Any]]:
        """A row for each node."""
        known = self._swarm_nodes()
        return [
            {
                "node": node.name,
                "address": node.address,
                "role": "manager" if node.number <= self.plan.managers else "worker",
                "engine": "up" if node.is_up() else "down",
                "link": "cut" if self.network.is_cut(node.number) else "up",
                "swarm": known.get(node.name, "unknown"),
                "docker_host": node.url,
            }
            for node in self.nodes
        ]

    def _swarm_nodes(self) -> dict[str, str]:
        """What a living manager thinks of the nodes."""
        for node in self.nodes[: self.plan.managers]:
            if node.is_up():
                text = system.run(
                    "docker", "--host", node.url, "node", "ls", "--format", "{{.Hostname}} {{.Status}}",
                    is_checked=False,
                )  # fmt: skip
                if text:
                    return {line.split()[0]: line.split()[1].lower() for line in text.splitlines()}
        return {}

    # --- making it -------------------------------------------------------------------------------

    def _raise(self, tell: Callable[[str], None]) -> None:
        if not (base_image.CACHE / f"python-{base_image.archive()[1]}.tar").is_file():
            tell("making the base image (once; about a minute)")
        image = base_image.ensure()
        begin = time.monotonic()
        if not network.make_room_for_many():
            tell("the kernel's limits cannot be raised: more than about 250 points will not reach each other")
        self.folder.mkdir(parents=True)
        self.network.create()
        self._start_services()
        for node in self.nodes:
            self.network.add_node(node.number)
            node.start()
        for node in self.nodes:
            node.wait()
        tell(f"{len(self.nodes)} Docker Engines are up")
        self._form_swarm()
        tell("they form a Swarm")
        self._seed_registry(image)
        tell(f"the registry has {BASE}; ready after {time.monotonic() - begin:.1f} s")

    def _form_swarm(self) -> None:
        first, *rest = self.nodes
        first.docker("swarm", "init", "--advertise-addr", first.address)
        tokens = {
            role: first.docker("swarm", "join-token", "--quiet", role).strip()
            for role in ("manager", "worker")
        }

        def join(node: Node) -> None:
            role = "manager" if node.number <= self.plan.managers else "worker"
            node.docker(
                "swarm", "join", "--token", tokens[role], "--advertise-addr", node.address,
                f"{first.address}:2377",
            )  # fmt: skip

        for node in rest[: self.plan.managers - 1]:
            join(node)  # one by one: each new manager changes the quorum
        with ThreadPoolExecutor() as pool:
            list(pool.map(join, rest[self.plan.managers - 1 :]))

    def _start_services(self) -> None:
        """The registry and a name server that knows no names (so that nobody waits for one)."""
        hub, folder = self.network.hub, self.folder
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "registry")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.registry},
        }
        if self.plan.password:
            (folder / "htpasswd").write_text(_htpasswd("parcs", self.plan.password))
            access = {"realm": "lab", "path": str(folder / "htpasswd")}
            configuration["auth"] = {"htpasswd": access}
        (folder / "registry.json").write_text(json.dumps(configuration))  # JSON is YAML too
        registry = [
            system.find_tool("docker-registry") or "docker-registry",
            "serve",
            str(folder / "registry.json"),
        ]
        system.start(system.in_network(hub, registry), folder / "registry.log")
        names = [
            system.find_tool("dnsmasq") or "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
            "--local=/#/", "--conf-file=/dev/null", "--bind-interfaces", "--user=root", "--pid-file=",
            f"--listen-address={self.network.service_address}",
        ]  # fmt: skip
        system.start(system.in_network(hub, names), folder / "dnsmasq.log")

    def _seed_registry(self, image: Path) -> None:
        first, name = self.nodes[0], f"{self.registry}/{BASE}"
        first.docker("import", "--change", 'CMD ["python3"]', str(image), name)
        if self.plan.password:
            login = ("login", "--username", "parcs", "--password-stdin")
            first.docker("--config", str(self.docker_config), *login, self.registry, text=self.plan.password)
        first.docker("--config", str(self.docker_config), "push", "--quiet", name)

    def _sweep(self) -> None:
        """Remove whatever of it is there."""
        for folder in self.folder.glob("node*"):
            Node(self.network, int(folder.name.removeprefix("node")), folder).remove()
        system.end(system.processes_of(Path(f"/run/netns/{self.network.hub}"), "net"))
        self.network.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _lock() -> Iterator[None]:
    """One lab is brought up or taken down at a time."""
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _state_file(name: str) -> Path:
    if not name.isidentifier() or len(name) > 9:
        raise errors.LabError(f"a lab cannot be called {name!r}; letters and digits will do, at most 9")
    return RUN / f"{name}.json"


def _write_state(lab: Lab) -> None:
    path = _state_file(lab.name)
    state = {"prefix": lab.network.prefix, "plan": lab.plan._asdict()}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(state, file)


def _htpasswd(user: str, password: str) -> str:
    """A line as the registry reads it: it takes bcrypt only."""
    import bcrypt

    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()}\n"
