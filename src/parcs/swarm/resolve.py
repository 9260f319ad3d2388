"""From a module's name to an image by digest, and to what the image says of itself.

A job resolves each name once: all its points run the same image, whatever is pushed meanwhile.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from parcs import errors
from parcs.dockerapi import images
from parcs.dockerapi.client import Docker
from parcs.image import description
from parcs.image.description import Description

POOL_MODULE: Final = "parcs/pool-worker"


class Resolved(NamedTuple):
    """An image that can be started. ``platforms`` is empty where the registry does not say;
    ``points_command`` is kept where ``about.command`` was replaced by a runner's."""

    image: str
    platforms: list[str]
    about: Description
    points_command: tuple[str, ...] = ()


class Resolver:
    """Asks the registry, through this node's Docker Engine.

    Args:
        registry: where plain names are looked for.
        python_image: what pools run on.
        credentials: for registries, by host.
    """

    def __init__(
        self, docker: Docker, registry: str, python_image: str, credentials: dict[str, images.Credentials]
    ) -> None:
        self._docker, self.registry, self._python_image = docker, registry, python_image
        self._credentials = credentials
        self._known: dict[str, Description] = {}

    def credentials(self, reference: str) -> images.Credentials | None:
        """User and password for an image's registry."""
        return self._credentials.get(images.registry_of(reference))

    def resolve(self, module: str) -> Resolved:
        """The image of a module.

        Raises:
            ImageMissingError: there is none under any name it could have.
            DockerError: the registry does not answer.
        """
        missing: errors.ImageMissingError | None = None
        for reference in self._references(module):
            try:
                return self._look(reference)
            except errors.ImageMissingError as error:
                missing = missing or error
        assert missing is not None
        raise missing

    def _references(self, module: str) -> list[str]:
        if module == POOL_MODULE:
            return [self._python_image]
        if images.registry_of(module) or not self.registry:
            return [module]
        ours = f"{self.registry}/{module}"
        return [ours, module] if "/" in module else [ours]

    def _look(self, reference: str) -> Resolved:
        credentials = self.credentials(reference)
        if not self.registry:
            local = images.inspect_local(self._docker, reference)
            if local is not None:
                return Resolved(reference, [], description.read(local["Config"].get("Labels")))
        if "@sha256:" in reference and reference in self._known:
            return Resolved(reference, [], self._known[reference])
        found = images.inspect_remote(self._docker, reference, credentials)
        pinned = found.pinned
        if pinned not in self._known:
            local = images.inspect_local(self._docker, pinned)
            if local is None:
                images.pull(self._docker, pinned, credentials)
                local = images.inspect_local(self._docker, pinned)
            labels = local["Config"].get("Labels") if local else None
            self._known[pinned] = description.read(labels)
        return Resolved(pinned, found.platforms, self._known[pinned])
