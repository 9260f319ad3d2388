"""A connection to one Docker Engine, and the gate where its errors become ours.

Where the Engine is found: a URL (``unix://``, ``tcp://``, ``ssh://``), the name of a Docker context, or, with
neither, what the ``docker`` command would use: DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), then
DOCKER_CONTEXT, then the current context.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import docker
import docker.errors
import docker.utils
import requests
from docker.context import ContextAPI

from parcs import errors

VERSION: Final = "1.41"
"""Docker 20.10 and later; the first with everything we use."""
_TIMEOUT_S: Final = 30
_POOL: Final = 64


class Docker:
    """One Docker Engine. Safe to use from several threads.

    Args:
        where: a URL or the name of a context; empty for what ``docker`` itself would use.
    """

    def __init__(self, where: str = "") -> None:
        with translated(where or "the Docker Engine"):
            self.api, self.url = _connect(where)

    @property
    def host(self) -> str:
        """The machine its URL names; empty if that is this one (a unix socket)."""
        parts = urlsplit(self.url)
        return parts.hostname or "" if parts.scheme in ("tcp", "ssh", "http", "https") else ""

    def get(self, path: str, **query: Any) -> Any:
        """GET a resource as JSON."""
        return self._json("GET", path, params=query)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any) -> Any:
        """POST JSON; gives the JSON that came back, or None."""
        return self._json("POST", path, params=query, json=body, headers=headers)

    def delete(self, path: str, **query: Any) -> None:
        """DELETE a resource."""
        self._json("DELETE", path, params=query)

    def stream(self, path: str, timeout_s: float | None = None, **query: Any) -> requests.Response:
        """GET a resource that goes on coming; close it when done."""
        response = self.send("GET", path, timeout_s, params=query, stream=True)
        check(response, path)
        return response

    def hang_up(self, response: requests.Response) -> None:
        """End a `stream` that another thread is reading."""
        api: Any = self.api
        raw = api._get_raw_response_socket(response)  # the library's own way, for every kind of connection
        with suppress(OSError):  # it has ended by itself
            getattr(raw, "_sock", raw).shutdown(socket.SHUT_RDWR)

    def send(
        self, method: str, path: str, timeout_s: float | None = _TIMEOUT_S, **options: Any
    ) -> requests.Response:
        """The Engine's answer, also a refusal; ``options`` as `requests` takes them."""
        with translated(self.url):
            address = f"{self.api.base_url}/v{VERSION}{path}"
            return self.api.request(method, address, timeout=timeout_s, **options)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        response = self.send(method, path, **options)
        check(response, path)
        return response.json() if response.content else None


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the errors of the Docker library, and of what it stands on, into ours."""
    try:
        yield
    except docker.errors.TLSParameterError as error:
        raise errors.DockerUnavailableError(f"TLS for {where}: {error}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        if isinstance(error, docker.errors.APIError):
            raise errors.DockerError(str(error.explanation or error), error.status_code or 0) from error
        raise errors.DockerUnavailableError(
            f"no Docker Engine answers at {where}: {_shorten(error)}; is it running, and may this user use it? "
            "(try: docker info)"
        ) from None  # a dozen frames of three libraries say no more than this sentence


def check(response: requests.Response, path: str) -> None:
    """Raise what the Engine complained of, if it did."""
    if response.status_code < 400:
        return
    message = complaint(response)
    response.close()
    if response.status_code in (401, 403):
        message = f"you may not do this with that Docker Engine: {message or path}"
    raise errors.DockerError(message or f"{path}: status {response.status_code}", response.status_code)


def complaint(response: requests.Response) -> str:
    """What the Engine says of a request that it refused."""
    try:
        return str(response.json().get("message", ""))
    except ValueError:
        return response.text[:300]


def registry_header(credentials: dict[str, str] | None) -> dict[str, str]:
    """The header that carries a registry's user and password."""
    return {"X-Registry-Auth": encoded(credentials)} if credentials else {}


def encoded(value: Any) -> str:
    """A value as Docker takes it in a header."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def _connect(where: str) -> tuple[docker.APIClient, str]:
    """A client, and the URL it goes to."""
    if "://" in where:
        return _client(where), where
    if not where and os.environ.get("DOCKER_HOST"):
        keywords = docker.utils.kwargs_from_env()
        url = keywords.pop("base_url")
        return _client(url, **keywords), os.environ["DOCKER_HOST"]
    name = where or os.environ.get("DOCKER_CONTEXT") or None
    _make_contexts_findable()
    context = ContextAPI.get_context(name)
    if context is None:
        raise errors.DockerUnavailableError(f"there is no Docker context {name!r}; see: docker context ls")
    tls = context.TLSConfig
    url = context.Host or "unix:///var/run/docker.sock"
    return _client(url, **({"tls": tls} if tls else {})), url


def _make_contexts_findable() -> None:
    """The library looks for contexts beside Docker's config.json, and so finds none where that is missing."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if (folder / "contexts").is_dir() and not (folder / "config.json").exists():
        (folder / "config.json").write_text("{}\n")


def _client(url: str, **options: Any) -> docker.APIClient:
    return docker.APIClient(
        base_url=url,
        version=VERSION,
        timeout=_TIMEOUT_S,
        use_ssh_client=url.startswith("ssh://"),
        num_pools=_POOL,
        max_pool_size=_POOL,
        **options,
    )


def _shorten(error: Exception) -> str:
    """The innermost reason: the library wraps it several times."""
    seen: BaseException = error
    while seen.__cause__ or seen.__context__:
        seen = seen.__cause__ or seen.__context__ or seen
    return str(seen) or type(seen).__name__
