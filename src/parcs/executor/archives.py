"""The archives of tasks, fetched once from the hub and kept for the next tasks that need them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import httpx2

from parcs import archive, errors
from parcs.contract.tasks import API

_MOST_BYTES: Final = 1 << 30
_NOT_FOUND: Final = 404
_TIMEOUT_S: Final = 60.0


class Archives:
    """A folder of archives, named by their digests.

    Args:
        token: the executor's.
    """

    def __init__(self, folder: Path, token: str) -> None:
        self._folder, self._token = folder, token
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks: dict[str, asyncio.Lock] = {}

    def known(self, digest: str) -> str | None:
        """The path of an archive that is here; empty if none is needed."""
        if not digest:
            return ""
        file = self._folder / digest
        return str(file) if file.exists() else None

    async def get(self, hub: str, digest: str) -> str:
        """The path of an archive.

        Raises:
            HubUnavailableError: it cannot be fetched now.
            ArchiveError: what came is not what was asked for, or there is none.
        """
        async with self._locks.setdefault(digest, asyncio.Lock()):
            if (found := self.known(digest)) is not None:
                return found
            try:
                async with httpx2.AsyncClient(timeout=_TIMEOUT_S) as http:
                    answer = await http.get(
                        f"{hub}{API}/archives/{digest}", headers={"Authorization": f"Bearer {self._token}"}
                    )
                if answer.status_code == _NOT_FOUND:
                    raise errors.ArchiveError(f"the hub has no archive {digest[:12]} any more")
                answer.raise_for_status()
            except httpx2.HTTPError as error:
                raise errors.HubUnavailableError(
                    f"{hub} does not give archive {digest[:12]}: {error}"
                ) from error
            if archive.digest(answer.content) != digest:
                raise errors.ArchiveError(f"archive {digest[:12]} came damaged")
            self._make_room(len(answer.content))
            file = self._folder / digest
            part = file.with_suffix(".part")
            part.write_bytes(answer.content)
            part.rename(file)
            return str(file)

    def _make_room(self, size: int) -> None:
        files = sorted((f for f in self._folder.iterdir() if f.is_file()), key=lambda f: f.stat().st_atime)
        total = sum(f.stat().st_size for f in files) + size
        for file in files:
            if total <= _MOST_BYTES:
                return
            total -= file.stat().st_size
            file.unlink(missing_ok=True)
