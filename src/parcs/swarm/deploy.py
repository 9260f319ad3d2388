"""Putting the engine server on a Swarm, and finding the way to it. On the user's machine.

Whoever may use the Docker Engine of a manager may do this, and needs nothing else: the certificate's
fingerprint is a label of the service, the operator token follows from the Swarm's join token.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from parcs import errors
from parcs.channel import tls
from parcs.dockerapi import images, networks, nodes, services, tasks
from parcs.dockerapi import secrets as swarm_secrets
from parcs.dockerapi.client import Docker
from parcs.image.build import Builder
from parcs.model.address import Address
from parcs.swarm import keys, names, spec
from parcs.swarm.remote import Access
from parcs.version import VERSION

REGISTRY_VARIABLE: Final = "PARCS_REGISTRY"
_UP_S: Final = 120.0

Tell = Callable[[str], None]


class State(NamedTuple):
    """The engine server as it is deployed."""

    version: str
    image: str
    registry: str
    node: str
    state: str
    error: str


def find(docker: Docker) -> services.Service | None:
    """The engine server's service, if there is one."""
    found = services.find(docker, f"{names.KIND}={names.ENGINE_KIND}")
    return found[0] if found else None


def ensure(docker: Docker, tell: Tell, registry: str = "") -> Access:
    """Have an engine server of at least this version, and give the way to it.

    Raises:
        SwarmError, DockerError, ImageMissingError: it cannot be had.
    """
    nodes.check_manager(docker)
    service = find(docker)
    if service is None or _version(service.labels.get(names.VERSION, "")) < _version(VERSION):
        return up(docker, tell, registry)
    return access(docker, service)


def up(docker: Docker, tell: Tell, registry: str = "") -> Access:
    """Put this version's engine server there, or in place of the one that is there.

    Jobs that run go on: the new server finds them again.
    """
    nodes.check_manager(docker)
    service = find(docker)
    registry = registry_of(service, registry)
    machines = nodes.find(docker)
    if not registry and len(machines) > 1:
        raise errors.SwarmError(
            "a Swarm of several nodes needs a registry that all of them reach, for the images of modules; name "
            f"it once: {REGISTRY_VARIABLE}=HOST:PORT parcs engine up (any registry will do; docs/swarm.md)"
        )
    builder = Builder(docker, registry, tell)
    python, image = builder.python(), builder.engine()
    networks.ensure_overlay(docker, names.NETWORK)
    fingerprint, secret = _secret(docker, service, builder.credentials)
    labels = {
        names.KIND: names.ENGINE_KIND,
        names.VERSION: VERSION,
        names.CERTIFICATE: fingerprint,
        names.REGISTRY: registry,
    }
    environment = {
        REGISTRY_VARIABLE: registry,
        "PARCS_PYTHON_IMAGE": python.pinned,
        "PARCS_NODE": "{{.Node.Hostname}}",
        "PYTHONUNBUFFERED": "1",
    }
    own = "" if registry else str(docker.get("/info")["Swarm"]["NodeID"])
    plan = spec.EnginePlan(image.pinned, own, secret, labels, environment)
    wanted = spec.engine(plan, names.NETWORK)
    tell(f"starting the engine server {VERSION}")
    if service is None:
        services.ensure(docker, wanted, builder.credentials)
    elif _image(service.spec) != image.pinned or service.labels != labels:
        services.update(docker, service, wanted, builder.credentials)
    _ensure_presence(docker, python.pinned, builder.credentials)
    service = find(docker)
    assert service is not None
    return _wait(docker, service, image.pinned)


def _ensure_presence(docker: Docker, image: str, credentials: images.Credentials | None) -> None:
    wanted = spec.presence(image, {names.KIND: names.PRESENCE_KIND}, names.NETWORK)
    found = services.find(docker, f"{names.KIND}={names.PRESENCE_KIND}")
    if found and _image(found[0].spec) != image:
        services.update(docker, found[0], wanted, credentials)
    elif not found:
        services.ensure(docker, wanted, credentials)


def down(docker: Docker) -> bool:
    """Remove the engine server and every job; False if there was none."""
    nodes.check_manager(docker)
    service = find(docker)
    for left in [
        *services.find(docker, names.JOB),
        *services.find(docker, f"{names.KIND}={names.PRESENCE_KIND}"),
    ]:
        services.remove(docker, left.id)
    if service is None:
        return False
    services.remove(docker, service.id)
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and tasks.find(docker, names.KIND):
        time.sleep(0.1)
    for item in docker.get("/secrets", filters=json.dumps({"label": [names.KIND]})):
        docker.delete(f"/secrets/{item['ID']}")
    return True


def state(docker: Docker) -> State | None:
    """What is deployed, and how it is."""
    nodes.check_manager(docker)
    service = find(docker)
    if service is None:
        return None
    running = _task(docker)
    node = next((n.name for n in nodes.find(docker) if running and n.id == running.node), "")
    return State(
        service.labels.get(names.VERSION, ""),
        _image(service.spec),
        service.labels.get(names.REGISTRY, ""),
        node,
        running.state if running else "starting",
        running.error if running else "",
    )


def registry_of(service: services.Service | None, registry: str = "") -> str:
    """The registry to use: the one named, the environment's, or the one the engine server was given."""
    known = service.labels.get(names.REGISTRY, "") if service else ""
    return (registry or os.environ.get(REGISTRY_VARIABLE, "") or known).rstrip("/")


def find_access(docker: Docker) -> Access:
    """The way to the engine server that is there.

    Raises:
        SwarmError: there is none.
    """
    nodes.check_manager(docker)
    service = find(docker)
    if service is None:
        raise errors.SwarmError(
            "this Swarm has no engine server yet: parcs engine up, or parcs run MODULE --on swarm, puts one there"
        )
    return access(docker, service)


def access(docker: Docker, service: services.Service) -> Access:
    """The way to a deployed engine server."""
    return _wait(docker, service, _image(service.spec))


def _wait(docker: Docker, service: services.Service, image: str) -> Access:
    """Wait until the server answers."""
    fingerprint = service.labels[names.CERTIFICATE]
    token = keys.operator_token(nodes.manager_token(docker))
    deadline = time.monotonic() + _UP_S
    while True:
        running = _task(docker, image)
        if running is not None and running.state == "running":
            machine = next(node for node in nodes.find(docker) if node.id == running.node)
            for host in dict.fromkeys(filter(None, (docker.host, machine.address))):
                address = Address(host, names.OUTSIDE_PORT, "tls")
                if _answers(address, fingerprint):
                    return Access(address, fingerprint, token)
        if time.monotonic() > deadline:
            why = (
                f"it is {running.state}: {running.error or running.message}" if running else "it has no task"
            )
            raise errors.SwarmError(
                f"the engine server does not answer after {_UP_S:.0f} s; {why}. Port {names.OUTSIDE_PORT} of the "
                "managers must be reachable from here; see: docker service ps parcs-engine --no-trunc"
            )
        time.sleep(0.1)


def _task(docker: Docker, image: str = "") -> tasks.Task | None:
    """The server's newest container that is wanted."""
    found = [
        task for task in tasks.find(docker, f"{names.KIND}={names.ENGINE_KIND}") if task.desired == "running"
    ]
    found = [task for task in found if not image or task.image == image]
    return max(found, key=lambda task: task.created_at, default=None)


def _answers(address: Address, fingerprint: str) -> bool:
    """Whether the server itself greets; Docker's proxy takes connections before anybody listens behind it."""
    try:
        tls.dial(address, fingerprint, tls.ENGINE, 1.0).close()
    except (errors.ChannelError, errors.HandshakeError):
        return False
    return True


def _image(specification: dict[str, Any]) -> str:
    image: str = specification["TaskTemplate"]["ContainerSpec"]["Image"]
    return image


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in text.split("."))


def _secret(
    docker: Docker, service: services.Service | None, credentials: images.Credentials | None
) -> tuple[str, dict[str, str]]:
    """The fingerprint, and the Swarm secret with the cluster's key; kept over upgrades, so that jobs go on.

    A secret cannot be read back: new credentials for the registry make a new one, with a new key.
    """
    kind = hashlib.sha256(json.dumps(credentials, sort_keys=True).encode()).hexdigest()[:8]
    if service is not None:
        found = service.spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
        if found and found[0]["SecretName"].endswith(kind):
            kept = {"id": found[0]["SecretID"], "name": found[0]["SecretName"]}
            return service.labels[names.CERTIFICATE], kept
    certificate, private_key, fingerprint = new_certificate()
    host = (credentials or {}).get("serveraddress", "")
    content = {
        "key": secrets.token_hex(32),
        "certificate": certificate,
        "private_key": private_key,
        "credentials": {host: credentials} if credentials else {},
    }
    name = f"{names.ENGINE}-{secrets.token_hex(4)}-{kind}"
    made = swarm_secrets.create(docker, name, {names.KIND: names.ENGINE_KIND}, json.dumps(content))
    return fingerprint, {"id": made, "name": name}


def new_certificate() -> tuple[str, str, str]:
    """A certificate of our own and its key, as PEM, and its fingerprint."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.ENGINE)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return public.decode(), private.decode(), fingerprint
