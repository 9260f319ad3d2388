"""What is asked of a hub, as values: each verb makes a `Call`, and whoever performs it is blocking or not.

Also here: what an answer means, and when to ask again. Every call may be sent twice: reading changes nothing,
what makes something carries a key, and the others come to the same whenever they are repeated.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from parcs import errors
from parcs.contract import tasks as contract

T = TypeVar("T")

BUDGET_S: Final = 60.0
"""For how long a call is repeated while no hub takes it."""
_FIRST_S: Final = 0.1
_LONGEST_S: Final = 3.0
_AGAIN: Final = (429, 502, 503, 504)
_ERRORS: Final[dict[str, type[errors.HubError] | type[errors.ArchiveError]]] = {
    "not-found": errors.NotFoundError,
    "not-logged-in": errors.NotLoggedInError,
    "not-allowed": errors.NotAllowedError,
    "conflict": errors.ConflictError,
    "too-much": errors.TooMuchError,
    "too-often": errors.TooMuchError,
    "database-unavailable": errors.DatabaseUnavailableError,
    "bad-archive": errors.ArchiveError,
}


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request."""

    method: str
    path: str
    decode: Callable[[bytes], T]
    params: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    wait_s: float | None = None
    """For how long the hub may wait for something before it answers."""


class Retry:
    """When to ask again, and whom.

    Args:
        urls: the hub's addresses.
        budget_s: after so long it gives up.
        first: the place of the one that is asked first: that which answered last.
    """

    def __init__(self, urls: Sequence[str], budget_s: float, now: float, first: int = 0) -> None:
        self._urls, self._until, self._wait_s = urls, now + budget_s, _FIRST_S
        self._first = self._place = first

    @property
    def place(self) -> int:
        """The place of whom to ask."""
        return self._place % len(self._urls)

    @property
    def url(self) -> str:
        """Whom to ask."""
        return self._urls[self.place]

    def failed(self, why: str, now: float) -> float:
        """It did not answer, or cannot now: gives how long to wait before the next is asked.

        Raises:
            HubUnavailableError: it was tried for long enough.
        """
        self._place += 1
        if now >= self._until:
            raise errors.HubUnavailableError(f"no hub answers at {', '.join(self._urls)}: {why}")
        if (self._place - self._first) % len(self._urls):
            return 0.0  # another may be well
        wait = self._wait_s * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
        self._wait_s = min(2 * self._wait_s, _LONGEST_S)
        return wait


def is_passing(status: int) -> bool:
    """Whether an answer with this status may be another one soon."""
    return status in _AGAIN


def error_of(status: int, body: bytes) -> errors.ParcsError:
    """The error that an answer stands for: the one that the hub itself had."""
    try:
        problem = msgspec.json.decode(body)
        kind, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return errors.HubError(f"the hub answered {status}: {body[:200].decode(errors='replace')}")
    if kind == "invalid-request":
        error = errors.InvalidRequestError(detail)
        error.field = str(problem.get("field", ""))
        return error
    return _ERRORS.get(kind, errors.HubError)(detail)


def _json(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


_encode: Final = msgspec.json.encode
_submitted: Final = _json(contract.Submitted)
_changed: Final = _json(contract.Changed)
_detail: Final = _json(contract.TaskDetail)
_counts: Final = _json(dict[str, int])


def submit(requests: Sequence[contract.TaskRequest]) -> Call[contract.Submitted]:
    """Add tasks."""
    key = _keyed()
    said = [_said(request) for request in requests]
    if len(said) == 1:
        return Call("POST", "/tasks", _submitted, body=_encode(said[0]), headers=key)
    return Call("POST", "/tasks/bulk", _submitted, body=_encode(said), headers=key)


def run(request: contract.TaskRequest, wait_s: float) -> Call[contract.TaskDetail]:
    """Add a task, and have it when it is over or after a time."""
    params = [("wait_s", f"{wait_s:g}")]
    return Call("POST", "/tasks/run", _detail, params, _encode(_said(request)), _keyed(), wait_s)


def _keyed() -> dict[str, str]:
    """Headers of a submission: sent again, it adds nothing twice."""
    return {"Idempotency-Key": secrets.token_hex(16), "Content-Type": "application/json"}


_DEFAULTS: Final = vars(contract.TaskRequest(""))


def _said(request: contract.TaskRequest) -> dict[str, Any]:
    """What differs from the defaults: a fifth of the bytes, for a usual task."""
    return {
        name: value
        for name, value in vars(request).items()
        if value is not _DEFAULTS[name] and (value != _DEFAULTS[name] or name == "command")
    }


def search(query: contract.Query, limit: int, cursor: str | None, order: str) -> Call[contract.TaskPage]:
    """A page of tasks."""
    params = [*params_of(query), ("limit", str(limit)), ("order", order)]
    return Call(
        "GET", "/tasks", _json(contract.TaskPage), [*params, *([("cursor", cursor)] if cursor else [])]
    )


def counts(query: contract.Query) -> Call[dict[str, int]]:
    """How many are in each state."""
    return Call("GET", "/tasks/counts", _counts, params_of(query))


def wait(query: contract.Query, timeout_s: float) -> Call[dict[str, int]]:
    """Counts, when all of them are over or after a time."""
    body = _encode(query)
    return Call("POST", "/tasks/wait", _counts, [("timeout_s", f"{timeout_s:g}")], body, _keyed(), timeout_s)


def detail(number: int, wait_s: float = 0.0) -> Call[contract.TaskDetail]:
    """A task whole; when it is over, or after a time."""
    params = [("wait_s", f"{wait_s:g}")] if wait_s else []
    return Call("GET", f"/tasks/{number}", _detail, params, wait_s=wait_s)


def explain(number: int) -> Call[dict[str, str]]:
    """Why it waits or ended."""
    return Call("GET", f"/tasks/{number}/explain", _json(dict[str, str]))


def cancel(query: contract.Query) -> Call[contract.Changed]:
    """Cancel all that are meant."""
    return _post("/tasks/cancel", _changed, query)


def delete(query: contract.Query) -> Call[contract.Changed]:
    """Delete all that are meant."""
    return _post("/tasks/delete", _changed, query)


def rerun(number: int) -> Call[contract.Submitted]:
    """Submit the same again."""
    return Call("POST", f"/tasks/{number}/rerun", _submitted, headers=_keyed())


def output(number: int, name: str, attempt: int, start: int) -> Call[bytes]:
    """What it wrote."""
    return Call(
        "GET", f"/tasks/{number}/output/{name}", bytes, [("attempt", str(attempt)), ("start", str(start))]
    )


def upload(data: bytes) -> Call[contract.Uploaded]:
    """An archive for tasks."""
    return Call(
        "POST",
        "/archives",
        _json(contract.Uploaded),
        body=data,
        headers={"Content-Type": "application/octet-stream"},
    )


def archive(digest: str) -> Call[bytes]:
    """An archive, as a zip."""
    return Call("GET", f"/archives/{digest}", bytes)


def hubs() -> Call[list[contract.HubSeen]]:
    """Every hub of the same database."""
    return Call("GET", "/hubs", _json(list[contract.HubSeen]))


def executors() -> Call[list[contract.Executor]]:
    """Every executor."""
    return Call("GET", "/executors", _json(list[contract.Executor]))


def change_executor(identity: str, verb: str) -> Call[contract.Changed]:
    """drain, enable or disable."""
    return Call("POST", f"/executors/{identity}/{verb}", _changed)


def tokens() -> Call[list[contract.Token]]:
    """One's tokens."""
    return Call("GET", "/tokens", _json(list[contract.Token]))


def add_token(name: str, kind: str, user: str | None, lasts_s: float | None) -> Call[contract.NewToken]:
    """Make a token."""
    given = {"name": name, "kind": kind, "user": user, "lasts_s": lasts_s}
    return _post("/tokens", _json(contract.NewToken), given)


def revoke(number: int) -> Call[contract.Changed]:
    """Revoke a token."""
    return Call("DELETE", f"/tokens/{number}", _changed)


def users() -> Call[list[contract.User]]:
    """Everybody."""
    return Call("GET", "/users", _json(list[contract.User]))


def add_user(name: str, role: str, password: str | None) -> Call[contract.User]:
    """Add somebody."""
    return _post("/users", _json(contract.User), {"name": name, "role": role, "password": password})


def change_user(name: str, change: Mapping[str, Any]) -> Call[contract.User]:
    """Change somebody."""
    body, headers = _encode(change), {"Content-Type": "application/json"}
    return Call("PATCH", f"/users/{name}", _json(contract.User), body=body, headers=headers)


def me() -> Call[dict[str, str]]:
    """Whose token this is."""
    return Call("GET", "/me", _json(dict[str, str]))


def params_of(query: contract.Query) -> list[tuple[str, str]]:
    """A query as a URL has it."""
    found = [("id", str(number)) for number in query.ids] + [("state", state) for state in query.states]
    found += [("label", f"{name}={value}") for name, value in query.labels.items()]
    for name in ("user", "name", "text", "array", "created_from", "created_until", "executor"):
        if (value := getattr(query, name)) is not None:
            found.append((name, str(value)))
    return found


def _post(path: str, decode: Callable[[bytes], T], body: Any) -> Call[T]:
    return Call("POST", path, decode, (), _encode(body), _keyed())
