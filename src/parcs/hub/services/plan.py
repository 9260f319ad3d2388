"""A submission on its way into the database: checked and laid out before its transaction begins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from parcs import archive, errors
from parcs.contract import tasks as contract
from parcs.hub.services import checks
from parcs.hub.store import people, specs
from parcs.hub.store.tasks import NewTask

_encode_spec: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class Plan:
    """A submission, checked and laid out; what takes long is done before its transaction."""

    def __init__(self, requests: Sequence[contract.TaskRequest]) -> None:
        self._laid: list[tuple[contract.TaskRequest, str, str, str]] = []
        self._specs: dict[str, tuple[bytes, str]] = {}
        self._archives: dict[str, tuple[bytes, int]] = {}
        self.demands: set[str] = set()
        like: dict[tuple[object, ...], tuple[str, str, str]] = {}
        for i, request in enumerate(requests):
            likeness = checks.likeness(request)
            try:
                known = like.get(likeness) if likeness is not None else None
                if known is None:
                    known = self._lay(request)
                    if likeness is not None:
                        like[likeness] = known
                else:
                    checks.check_own(request)
            except errors.InvalidRequestError as error:
                if len(requests) == 1:
                    raise
                raise errors.InvalidRequestError(str(error), f"{i}.{error.field}") from error
            self._laid.append((request, *known))

    def _lay(self, request: contract.TaskRequest) -> tuple[str, str, str]:
        """Check a request, and note its spec, demand and archive; gives their keys, and the command to show."""
        checks.check(request)
        digest = request.archive or ""
        if (packed := checks.files_of(request)) is not None:
            digest = archive.digest(packed)
            self._archives[digest] = (packed, len(request.files))
        spec = _encode_spec(checks.spec_of(request, digest))
        key = hashlib.sha256(spec).hexdigest()
        self._specs[key] = (spec, digest)
        demand = checks.demand_of(request)
        self.demands.add(demand)
        return key, demand, checks.shown(request.command)

    def rows(
        self, connection: sa.Connection, user: str, now: float, demands: Mapping[str, int]
    ) -> list[NewTask]:
        """The tasks, with specs, demands and archives in place.

        Args:
            demands: the numbers of those that are known: they stay for ever.

        Raises:
            InvalidRequestError: an archive was not uploaded.
        """
        for digest, (packed, files) in self._archives.items():
            people.put_archive(connection, digest, packed, files, now)
        for digest in {digest for _, digest in self._specs.values()} - self._archives.keys() - {""}:
            if not people.has_archive(connection, digest):
                raise errors.InvalidRequestError("was not uploaded to this hub", "archive")
        known = specs.spec_ids(connection, self._specs)
        demands = {b: demands.get(b) or specs.demand_id(connection, b) for b in self.demands}
        new = []
        for request, key, demand, command in self._laid:
            if request.array is None:
                new.append(NewTask(known[key], demands[demand], user, request, command, None, {}))
            else:
                new += [
                    NewTask(known[key], demands[demand], user, request, command, i, row)
                    for i, row in enumerate(request.array)
                ]
        return new
