"""The lab's network: a bridge in a namespace of its own, a pair of virtual cables to every node.

10.77.0.1     this machine, outside the cluster
10.77.0.2     the bridge's own namespace: registry and name server
10.77.0.11 …  node1 …
"""

from __future__ import annotations

import json
from pathlib import Path

from parcs import errors
from parcs.lab import system

BRIDGE = "br0"
_FIRST_NODE = 11
_KERNEL = Path("/proc/sys")
_KERNEL_LIMITS = {
    "net/ipv4/neigh/default/gc_thresh3": 16384,
    "net/ipv4/neigh/default/gc_thresh2": 8192,
    "net/ipv4/neigh/default/gc_thresh1": 4096,
    # Docker follows a container's output with one; without, it looks at the file five times a second.
    "fs/inotify/max_user_instances": 8192,
}


class Network:
    """Names and addresses of one lab's network, and the commands that make and break it.

    Args:
        name: the lab's name; every namespace begins with it.
        prefix: the first three numbers of its addresses, as ``10.77.0``.
    """

    def __init__(self, name: str, prefix: str) -> None:
        self.name, self.prefix = name, prefix
        self.hub = f"{name}-net"

    @property
    def service_address(self) -> str:
        """Where registry and name server listen."""
        return f"{self.prefix}.2"

    @property
    def registry(self) -> str:
        """The registry, as it stands before an image's name."""
        return f"{self.service_address}:5000"

    def namespace(self, number: int) -> str:
        """The network namespace of node ``number`` (from 1)."""
        return f"{self.name}-node{number}"

    def address(self, number: int) -> str:
        """The address of node ``number``."""
        return f"{self.prefix}.{_FIRST_NODE + number - 1}"

    def port(self, number: int) -> str:
        """The bridge's end of node ``number``'s cable."""
        return f"n{number}"

    def create(self) -> None:
        """The bridge, and this machine's own cable to it."""
        system.run("ip", "netns", "add", self.hub)
        self._in_hub("link", "set", "lo", "up")
        self._in_hub("link", "add", BRIDGE, "type", "bridge")
        self._in_hub("addr", "add", f"{self.service_address}/24", "dev", BRIDGE)
        self._in_hub("link", "set", BRIDGE, "up")
        cable = self.host_cable
        system.run("ip", "link", "add", cable, "type", "veth", "peer", "name", "host", "netns", self.hub)
        self._in_hub("link", "set", "host", "master", BRIDGE, "up")
        system.run("ip", "addr", "add", f"{self.prefix}.1/24", "dev", cable)
        system.run("ip", "link", "set", cable, "up")

    @property
    def host_cable(self) -> str:
        """This machine's end of its cable; an interface's name has at most 15 characters."""
        return f"{self.name[:9]}-host"

    def add(self, namespace: str, address: str, port: str) -> None:
        """A namespace with a cable to the bridge."""
        system.run("ip", "netns", "add", namespace)
        inside = ("ip", "-n", namespace)
        self._in_hub("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._in_hub("link", "set", port, "master", BRIDGE, "up")
        system.run(*inside, "link", "set", "lo", "up")
        system.run(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        system.run(*inside, "link", "set", "eth0", "up")
        system.run(*inside, "route", "add", "default", "via", f"{self.prefix}.1")

    def add_node(self, number: int) -> None:
        """The namespace and cable of a node."""
        self.add(self.namespace(number), self.address(number), self.port(number))

    def cut(self, number: int) -> None:
        """Pull the node's cable."""
        self._in_hub("link", "set", self.port(number), "down")

    def heal(self, number: int) -> None:
        """Plug it in again, and take away delay and loss."""
        self._in_hub("link", "set", self.port(number), "up")
        namespace = self.namespace(number)
        for where, device in ((self.hub, self.port(number)), (namespace, "eth0")):
            system.run("tc", "-n", where, "qdisc", "del", "dev", device, "root", is_checked=False)

    def slow(self, number: int, delay: str, loss: str) -> None:
        """Delay and lose packets, both ways."""
        for where, device in ((self.hub, self.port(number)), (self.namespace(number), "eth0")):
            words = ["tc", "-n", where, "qdisc", "replace", "dev", device, "root", "netem"]
            try:
                system.run(*words, *(["delay", delay] if delay else []), *(["loss", loss] if loss else []))
            except errors.LabError as error:
                if "unknown" not in str(error):
                    raise
                raise errors.LabError(
                    "this machine's kernel cannot slow links: it has no netem (try: modprobe sch_netem)"
                ) from None

    def is_cut(self, number: int) -> bool:
        """Whether the node's cable is pulled."""
        text = system.run("ip", "-n", self.hub, "-j", "link", "show", self.port(number), is_checked=False)
        return bool(text) and "UP" not in json.loads(text)[0]["flags"]

    def remove(self) -> None:
        """All of it, whatever of it is there."""
        for file in Path("/run/netns").glob(f"{self.name}-*"):
            if file.name == self.hub or file.name.startswith(f"{self.name}-node"):
                system.run("ip", "netns", "del", file.name, is_checked=False)
        system.run("ip", "link", "del", self.host_cable, is_checked=False)

    def _in_hub(self, *words: str) -> None:
        system.run("ip", "-n", self.hub, *words)


def make_room_for_many() -> bool:
    """Raise the limits that all nodes of a lab share, for they share a kernel; False if they cannot be raised.

    On every node an overlay network keeps an entry for each container of every other: the usual 1,024 are spent at
    about 250 containers on 4 nodes, and what comes later is not reached. Never lowered, nor put back: other labs
    may be up.
    """
    try:
        for name, wanted in _KERNEL_LIMITS.items():
            if int((_KERNEL / name).read_text()) < wanted:
                (_KERNEL / name).write_text(str(wanted))
    except OSError:
        return False
    return True


def free_prefix() -> str:
    """The first of 10.77.0, 10.78.0, … that this machine has no address in.

    Raises:
        LabError: all are taken.
    """
    taken = system.run("ip", "-o", "-4", "addr", "show")
    for second in range(77, 120):
        if f" 10.{second}.0." not in taken:
            return f"10.{second}.0"
    raise errors.LabError("no addresses are left for another lab; take one down: parcs lab down")
