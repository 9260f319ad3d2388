"""Secrets of a Swarm: made, and never read back."""

from __future__ import annotations

import base64

from parcs.dockerapi.client import Docker


def create(docker: Docker, name: str, labels: dict[str, str], content: str) -> str:
    """Make a secret; returns its id."""
    data = base64.b64encode(content.encode()).decode()
    made: str = docker.post("/secrets/create", {"Name": name, "Labels": labels, "Data": data})["ID"]
    return made
