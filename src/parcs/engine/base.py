"""The contract of an engine, as a program holds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from parcs.channel import Endpoint
    from parcs.point import Point


class Engine(ABC):
    """Starts and ends points. As a context manager, leaving it ends every point it started."""

    @abstractmethod
    def run_all(
        self,
        module: str,
        count: int,
        *,
        environment: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> list[Point]:
        """Start ``count`` points of a module at the same time, and wait until all have called back.

        Args:
            module: a module's name, path or image.
            environment: variables added to the points' environment.
            resources: ``cpus``, ``memory`` (bytes or ``"512MiB"``), ``gpus`` of each point.
            timeout: seconds to wait for the calls; PARCS_START_TIMEOUT if None.

        Raises:
            UnknownModuleError, ManifestError: the module cannot be found or used.
            PointStartError: one of them could not start; the others are ended again.
            EngineError: the engine refused.
        """

    def run(
        self,
        module: str,
        *,
        environment: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Point:
        """Start one point; as `run_all`."""
        return self.run_all(module, 1, environment=environment, resources=resources, timeout=timeout)[0]

    @abstractmethod
    def warm(self, module: str, count: int) -> None:
        """Keep ``count`` started points of a module waiting, and wait until they are.

        Taking them with `run` or `run_all` then costs milliseconds; others are started in their place. They
        end with this engine, or with ``count`` 0.

        Raises:
            UnknownModuleError, ImageMissingError, NoRoomError, EngineError: they cannot be started.
        """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """This program's end of its channels."""

    @property
    @abstractmethod
    def is_here(self) -> bool:
        """Whether its points run on this machine, and so see its files."""

    @property
    @abstractmethod
    def points(self) -> list[Point]:
        """The points started here and not yet shut down."""

    @abstractmethod
    def close(self) -> None:
        """End every point started here. Closing twice does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
