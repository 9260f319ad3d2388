"""Images: what a registry has under a name, what is in it; building and pushing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import docker.auth
import requests

from parcs import errors
from parcs.dockerapi.client import Docker, check, complaint, encoded, registry_header, translated

Credentials = dict[str, str]


class Found(NamedTuple):
    """What a registry has: a digest, and the platforms (``linux/amd64``) it is for."""

    reference: str
    digest: str
    platforms: list[str]

    @property
    def pinned(self) -> str:
        """The reference by digest: the same image for ever, and no question to the registry at each start."""
        return f"{repository(self.reference)}@{self.digest}" if self.digest else self.reference


def repository(reference: str) -> str:
    """A reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}"


def registry_of(reference: str) -> str:
    """The registry a reference names; empty for Docker Hub."""
    head, slash, _ = reference.partition("/")
    return head if slash and ("." in head or ":" in head or head == "localhost") else ""


def inspect_remote(docker: Docker, reference: str, credentials: Credentials | None = None) -> Found:
    """What the registry has under a reference, asked now.

    Raises:
        ImageMissingError: nothing, or this user may not see it.
        DockerError: the registry does not answer.
    """
    response = docker.send("GET", f"/distribution/{reference}/json", headers=registry_header(credentials))
    if response.status_code >= 400:
        why = complaint(response)
        is_known = any(word in why for word in ("unauthorized", "denied", "not found"))
        if is_known or response.status_code in (401, 403, 404):
            raise errors.ImageMissingError(reference, why)
        raise errors.DockerError(f"{reference}: {why}", response.status_code)
    body = response.json()
    platforms = [
        f"{item.get('os', '')}/{item.get('architecture', '')}" for item in body.get("Platforms") or []
    ]
    return Found(reference, body["Descriptor"]["digest"], platforms)


def inspect_local(docker: Docker, reference: str) -> dict[str, Any] | None:
    """What the Engine itself has under a reference; None if nothing."""
    try:
        found: dict[str, Any] = docker.get(f"/images/{reference}/json")
    except errors.DockerError as error:
        if error.status == 404:
            return None
        raise
    return found


def pull(docker: Docker, reference: str, credentials: Credentials | None = None) -> None:
    """Have the Engine fetch an image."""
    name, at, digest = reference.partition("@")
    query = {"fromImage": name, "tag": digest} if at else {"fromImage": repository(name), "tag": _tag(name)}
    _perform(docker, "/images/create", query, registry_header(credentials), reference)


def push(docker: Docker, reference: str, credentials: Credentials | None = None) -> str:
    """Send an image to its registry; returns the digest it has there."""
    headers = {"X-Registry-Auth": encoded(credentials or {})}  # the API wants one, also if it is empty
    digest = ""
    path = f"/images/{repository(reference)}/push"
    for message in _perform(docker, path, {"tag": _tag(reference)}, headers, reference):
        digest = (message.get("aux") or {}).get("Digest", digest)
    return digest


def build(
    docker: Docker,
    context: IO[bytes],
    tags: list[str],
    arguments: dict[str, str],
    labels: dict[str, str],
    tell: Callable[[str], None] = lambda line: None,
    credentials: dict[str, Credentials] | None = None,
) -> None:
    """Build an image from a tar file with a Dockerfile in it.

    Raises:
        ImageBuildError: a step failed; the message has the end of its output.
    """
    query = {
        "t": tags,
        "buildargs": json.dumps(arguments),
        "labels": json.dumps(labels),
        "rm": "1",
        "forcerm": "1",
    }
    headers = {"Content-Type": "application/x-tar"}
    if credentials:
        headers["X-Registry-Config"] = encoded(credentials)
    lines: list[str] = []
    response = docker.send("POST", "/build", None, params=query, data=context, headers=headers, stream=True)
    check(response, "/build")
    for message in _messages(docker, response):
        if "error" in message:
            raise errors.ImageBuildError(tags[0], [*lines[-12:], str(message["error"])])
        for line in str(message.get("stream", "")).splitlines():
            if line.strip():
                lines.append(line)
                tell(line)


def stored_credentials(registry: str) -> Credentials | None:
    """User and password that ``docker login`` keeps for a registry; None if there are none."""
    config = docker.auth.load_config()
    found = docker.auth.resolve_authconfig(config, registry or None)
    if not found:
        return None
    kept = {key: str(value) for key, value in found.items() if isinstance(value, str)}
    return {key.lower() if key != "ServerAddress" else "serveraddress": value for key, value in kept.items()}


def _perform(
    docker: Docker, path: str, query: dict[str, Any], headers: dict[str, str], reference: str
) -> list[dict[str, Any]]:
    response = docker.send("POST", path, None, params=query, headers=headers, stream=True)
    if response.status_code >= 400:
        raise errors.ImageMissingError(reference, complaint(response))
    messages = list(_messages(docker, response))
    for message in messages:
        if "error" in message:
            raise errors.ImageMissingError(reference, str(message["error"]))
    return messages


def _messages(docker: Docker, response: requests.Response) -> Iterator[dict[str, Any]]:
    """One JSON object a line; the connection may break in any of them."""
    with translated(docker.url), response:
        for line in response.iter_lines():
            if line:
                yield json.loads(line)


def _tag(reference: str) -> str:
    return reference.rpartition("/")[2].partition(":")[2] or "latest"
