"""What a registry holds, asked over its own API (OCI Distribution, docker.com/registry/spec/api)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import requests

from parcs import errors
from parcs.dockerapi import images
from parcs.dockerapi.client import Docker
from parcs.image import description

_MANIFESTS: Final = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
_TIMEOUT_S: Final = 20.0
_PAGE: Final = 200


class Repository:
    """A registry, or the part of it below a prefix.

    Args:
        docker: says whether the registry speaks TLS (``insecure-registries``).
        registry: ``host:5000`` or ``host:5000/team``.
    """

    def __init__(self, docker: Docker, registry: str) -> None:
        self.registry = registry
        self._host, _, self._prefix = registry.partition("/")
        self._base = f"{'http' if _is_insecure(docker, self._host) else 'https'}://{self._host}/v2"
        self._session = requests.Session()
        stored = images.stored_credentials(self._host)
        self._login = (stored.get("username", ""), stored.get("password", "")) if stored else None

    def names(self) -> list[str]:
        """The modules in it, without the prefix; PARCS's own images are left out."""
        found: list[str] = []
        path: str | None = f"/_catalog?n={_PAGE}"
        while path:
            response = self._get(path)
            found += response.json().get("repositories") or []
            link = re.search(r"<(?:/v2)?([^>]+)>", response.headers.get("Link", ""))
            path = link[1] if link else None
        prefix = f"{self._prefix}/" if self._prefix else ""
        ours = (name.removeprefix(prefix) for name in found if name.startswith(prefix))
        return sorted(name for name in ours if not name.startswith("parcs/") and name != "python")

    def tags(self, name: str) -> list[dict[str, Any]]:
        """Every image of a module, by tag."""
        answer = self._get(f"/{self._path(name)}/tags/list").json()
        entries = []
        for tag in sorted(answer.get("tags") or []):
            try:
                entries.append(self.inspect(name, tag))
            except errors.ImageMissingError:
                continue  # removed while we looked
        return entries

    def inspect(self, name: str, tag: str) -> dict[str, Any]:
        """One image: what the registry knows, and what its label says.

        Raises:
            ImageMissingError: there is none.
        """
        digest, manifest = self._manifest(name, tag)
        if "manifests" in manifest:  # one image for several platforms: the first speaks for all
            _, manifest = self._manifest(name, manifest["manifests"][0]["digest"])
        configuration = self._get(f"/{self._path(name)}/blobs/{manifest['config']['digest']}").json()
        about = description.read((configuration.get("config") or {}).get("Labels"))
        return {
            "name": name,
            "tag": tag,
            "digest": digest,
            "size": sum(layer.get("size", 0) for layer in manifest.get("layers", [])),
            "platform": f"{configuration.get('os', '')}/{configuration.get('architecture', '')}",
            "created_at": configuration.get("created", ""),
            "description": about.description,
            "language": about.language,
            "command": list(about.command),
            "runner": list(about.runner),
            "needs": about.needs.to_json(),
            "parameters": about.parameters,
        }

    def remove(self, name: str, tag: str) -> str:
        """Remove what a tag stands for; gives its digest.

        Raises:
            ImageMissingError: there is nothing.
            DockerError: the registry does not allow it.
        """
        digest, _ = self._manifest(name, tag)
        response = self._request("DELETE", f"/{self._path(name)}/manifests/{digest}")
        if response.status_code == 405:
            raise errors.DockerError(
                f"the registry {self._host} does not allow removing (its setting storage.delete.enabled)", 405
            )
        self._check(response, f"{self.registry}/{name}:{tag}")
        return digest

    def _manifest(self, name: str, reference: str) -> tuple[str, dict[str, Any]]:
        response = self._get(f"/{self._path(name)}/manifests/{reference}", {"Accept": _MANIFESTS})
        content: dict[str, Any] = json.loads(response.content)
        return response.headers.get("Docker-Content-Digest", ""), content

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        response = self._request("GET", path, headers)
        self._check(response, f"{self._host}{path}")
        return response

    def _request(self, method: str, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        try:
            url = f"{self._base}{path}"
            response = self._session.request(
                method, url, headers=headers, auth=self._login, timeout=_TIMEOUT_S
            )
            challenge = response.headers.get("WWW-Authenticate", "")
            if response.status_code == 401 and challenge.startswith("Bearer "):
                self._session.headers["Authorization"] = f"Bearer {self._token(challenge)}"
                response = self._session.request(method, url, headers=headers, timeout=_TIMEOUT_S)
            return response
        except requests.RequestException as error:
            raise errors.DockerUnavailableError(
                f"the registry {self._host} does not answer: {error}; is PARCS_REGISTRY right?"
            ) from error

    def _token(self, challenge: str) -> str:
        """Registries with a token service say where to get a token, and for what."""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = {key: fields[key] for key in ("service", "scope") if key in fields}
        response = self._session.get(fields["realm"], params=query, auth=self._login, timeout=_TIMEOUT_S)
        answer = response.json()
        return str(answer.get("token") or answer.get("access_token") or "")

    def _check(self, response: requests.Response, what: str) -> None:
        if response.status_code in (401, 403):
            raise errors.DockerError(
                f"the registry {self._host} wants another user or password: docker login {self._host}",
                response.status_code,
            )
        if response.status_code == 404:
            raise errors.ImageMissingError(what)
        if response.status_code >= 400:
            raise errors.DockerError(f"{what}: {response.text[:200]}", response.status_code)


def _is_insecure(docker: Docker, host: str) -> bool:
    """Whether the Docker Engine would talk to the registry without TLS."""
    configuration = docker.get("/info").get("RegistryConfig") or {}
    known = (configuration.get("IndexConfigs") or {}).get(host)
    return bool(known and not known.get("Secure", True)) or host.partition(":")[0] in (
        "localhost",
        "127.0.0.1",
    )
