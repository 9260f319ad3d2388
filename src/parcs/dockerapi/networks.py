"""Overlay networks."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from parcs import errors
from parcs.dockerapi.client import Docker

_KNOWN_S = 10.0
_CANDIDATES = [f"10.{second}.0.0/16" for second in range(201, 255)]
"""Room for 65,000 addresses each, away from the pools that Docker itself takes from."""


def ensure_overlay(docker: Docker, name: str) -> dict[str, Any]:
    """The overlay network of that name; made, with room for thousands of points, if it is not there.

    Raises:
        SwarmError: there is a network of this name that is no overlay of the whole Swarm.
        DockerError: it could not be made.
    """
    found = inspect(docker, name)
    if found is None:
        subnet = _free_subnet([s for network in docker.get("/networks") for s in subnets(network)])
        specification = {
            "Name": name,
            "Driver": "overlay",
            "Attachable": True,
            "CheckDuplicate": True,
            "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        }
        try:
            docker.post("/networks/create", specification)
        except errors.DockerError as error:
            if error.status != 409:  # somebody else made it in this moment
                raise
        found = _wait_for(docker, name)
    if found is None or found.get("Driver") != "overlay":
        raise errors.SwarmError(
            f"a network called {name!r} exists and is no overlay of the Swarm: docker network rm {name}"
        )
    return found


def _wait_for(docker: Docker, name: str) -> dict[str, Any] | None:
    """A network just made: it is known, and has its driver and addresses, a moment later."""
    deadline = time.monotonic() + _KNOWN_S
    while True:
        found = inspect(docker, name)
        is_whole = found is not None and found.get("Driver") and subnets(found)
        if is_whole or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def inspect(docker: Docker, name: str) -> dict[str, Any] | None:
    """What is known of a network; None if there is none of that name."""
    try:
        found: dict[str, Any] = docker.get(f"/networks/{name}")
    except errors.DockerError as error:
        if error.status == 404:
            return None
        raise
    return found


def subnets(network: dict[str, Any]) -> list[str]:
    """The address ranges of a network."""
    ranges = (network.get("IPAM") or {}).get("Config") or []
    return [item["Subnet"] for item in ranges if item.get("Subnet")]


def capacity(network: dict[str, Any]) -> int:
    """How many addresses a network has in all."""
    return sum(max(ipaddress.ip_network(s, strict=False).num_addresses - 3, 0) for s in subnets(network))


def _free_subnet(taken: list[str]) -> str:
    used = [ipaddress.ip_network(text, strict=False) for text in taken]
    for text in _CANDIDATES:
        candidate = ipaddress.ip_network(text)
        if not any(candidate.overlaps(other) for other in used if other.version == candidate.version):
            return text
    raise errors.SwarmError("no address range is left for PARCS's network; make one called 'parcs' by hand")
