"""A change that is asked for twice happens once.

Whoever is not answered, asks again, perhaps another hub: then nobody knows whether the first request was done. So
a request carries a key, and its answer is kept in the same transaction as what it changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from parcs import errors
from parcs.hub.store import people
from parcs.hub.store.database import Database

T = TypeVar("T")
_LONGEST = 200


class Key(NamedTuple):
    """An idempotency key: whose, which, and what the request was."""

    owner: str
    text: str
    request: str

    @staticmethod
    def of(owner: str, text: str, request: Any) -> Key | None:
        """The key that a request came with; None if it has none.

        Raises:
            InvalidRequestError: it is too long.
        """
        if not text:
            return None
        if len(text) > _LONGEST:
            raise errors.InvalidRequestError(f"has more than {_LONGEST} characters", "Idempotency-Key")
        return Key(owner, text, hashlib.sha256(msgspec.json.encode(request)).hexdigest())


class _Repeated(errors.ParcsError):
    """Somebody was first; what this transaction did is taken back."""


async def once(
    database: Database,
    key: Key | None,
    work: Callable[[sa.Connection], T],
    kind: type[T],
    clock: Callable[[], float],
) -> tuple[T, bool]:
    """Run a transaction, unless it was run for the same key before: then give its answer.

    Args:
        kind: what the answer is, for msgspec.

    Returns:
        The answer, and whether it was this request that did it.

    Raises:
        ConflictError: the key was used for another request.
    """
    if key is None:
        return await database.write(work), True

    def whole(connection: sa.Connection) -> T:
        answer = work(connection)
        # Asking first would cost every request a statement, and two at the same time would both find nothing.
        body = msgspec.json.encode(answer).decode()
        if not people.remember(connection, key.owner, key.text, key.request, body, clock()):
            raise _Repeated("this was done before")
        return answer

    try:
        return await database.write(whole), True
    except errors.DatabaseUnavailableError:
        raise
    except errors.ParcsError:  # what was done before may also be why it cannot be done now
        known = await database.read(lambda c: people.recall(c, key.owner, key.text))
        if known is None:
            raise
    if known[0] != key.request:
        raise errors.ConflictError("this idempotency key was used for another request")
    return msgspec.json.decode(known[1], type=kind), False
