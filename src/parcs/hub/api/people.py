"""/api/v1/users, tokens, login, audit: who may use this hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.api.gate import COOKIE, Asker, Key, RateError, TheHub, address_of
from parcs.hub.api.tasks import answer
from parcs.hub.services import access
from parcs.hub.services.access import Action
from parcs.hub.store import people

router = APIRouter(prefix=contract.API, tags=["people"])

_DAY_S: Final = 86400.0
_STRICT: Final = {"extra": "forbid", "use_attribute_docstrings": True}
Name = Annotated[str, Path(description="The user's name.")]


@dataclass(frozen=True)
class NewUser:
    """Somebody to be added."""

    __pydantic_config__ = _STRICT

    name: str
    role: str = "member"
    """admin, member or viewer."""
    password: str | None = None
    """For the page; the command line uses tokens."""


@dataclass(frozen=True)
class UserChange:
    """What is to be otherwise."""

    __pydantic_config__ = _STRICT

    role: str | None = None
    password: str | None = None
    disabled: bool | None = None


@dataclass(frozen=True)
class TokenRequest:
    """A token to be made."""

    __pydantic_config__ = _STRICT

    name: str
    """What it is for."""
    kind: str = "api"
    """api, or executor: that one can run tasks and nothing else."""
    user: str | None = None
    """Whose; one's own if nothing is said."""
    lasts_s: float | None = None
    """For how long; null is until it is revoked."""


@dataclass(frozen=True)
class Login:
    """A name and a password, or the word of a one-time link."""

    __pydantic_config__ = _STRICT

    name: str = ""
    password: str = ""
    link: str = ""


@dataclass(frozen=True)
class Me:
    """Who asks."""

    name: str
    role: str
    kind: str


@router.get("/me", response_model=Me)
async def me(asker: Asker) -> Response:
    """Whose token this is."""
    return answer(Me(asker.user, asker.role, asker.kind))


@router.post("/login", response_model=Me)
async def login(hub: TheHub, request: Request, given: Login) -> Response:
    """Log in for a page: the answer sets a cookie that scripts cannot read."""
    if not hub.logins.take(f"{given.name} from {address_of(request)}"):
        raise RateError("too many logins, one after another; wait some seconds")
    lasts = hub.settings.session_days * _DAY_S
    if given.link:
        new = await hub.access.log_in_by_link(given.link, lasts)
    else:
        new = await hub.access.log_in(given.name, given.password, lasts)
    await hub.audit(new.token.user, "log in", "", address_of(request))
    bearer = await hub.access.bearer(new.secret)
    response = answer(Me(bearer.user, bearer.role, bearer.kind))
    response.set_cookie(
        COOKIE,
        new.secret,
        max_age=int(lasts),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout", response_model=contract.Changed)
async def logout(hub: TheHub, asker: Asker) -> Response:
    """End this session: its token is revoked."""
    if asker.kind == "session":
        await hub.access.revoke(asker, asker.token)
    response = answer(contract.Changed(1))
    response.delete_cookie(COOKIE)
    return response


@router.get("/users", response_model=list[contract.User])
async def users(hub: TheHub, asker: Asker) -> Response:
    """Everybody."""
    access.demand(asker, Action.MANAGE_PEOPLE)
    return answer(await hub.access.users())


@router.post("/users", status_code=201, response_model=contract.User)
async def add_user(hub: TheHub, asker: Asker, request: Request, new: NewUser, key: Key = "") -> Response:
    """Add somebody."""
    access.demand(asker, Action.MANAGE_PEOPLE)
    user = await hub.access.add_user(asker, new.name, new.role, new.password, key)
    await hub.audit(asker.user, "add user", f"{new.name} as {new.role}", address_of(request))
    return answer(user, 201)


@router.patch("/users/{name}", response_model=contract.User)
async def change_user(
    hub: TheHub, asker: Asker, request: Request, name: Name, change: UserChange
) -> Response:
    """Change a role or a password, or shut somebody out. Everybody may change their own password."""
    is_own_password = asker.user == name and change.role is None and change.disabled is None
    if not is_own_password or asker.kind == "executor":
        access.demand(asker, Action.MANAGE_PEOPLE)
    if not name.isascii() or "\0" in name:
        raise errors.NotFoundError("there is no such user")
    user = await hub.access.change_user(
        name, role=change.role, password=change.password, disabled=change.disabled
    )
    await hub.audit(asker.user, "change user", name, address_of(request))
    return answer(user)


@router.get("/tokens", response_model=list[contract.Token])
async def tokens(hub: TheHub, asker: Asker) -> Response:
    """One's own tokens; everybody's for an admin. Their secrets are nowhere."""
    access.demand(asker, Action.LOOK)
    return answer(await hub.access.tokens(asker))


@router.post("/tokens", status_code=201, response_model=contract.NewToken)
async def add_token(
    hub: TheHub, asker: Asker, request: Request, new: TokenRequest, key: Key = ""
) -> Response:
    """Make a token. Its secret is in this answer, and never again."""
    access.demand(asker, Action.LOOK)
    owner = new.user or asker.user
    if "\0" in owner or not owner.isascii():
        raise errors.NotFoundError("there is no such user")
    made = await hub.access.add_token(asker, owner, new.name, new.kind, new.lasts_s, key)
    await hub.audit(
        asker.user, "make token", f"{made.token.id} ({new.kind}) for {owner}", address_of(request)
    )
    return answer(made, 201)


@router.delete("/tokens/{number}", response_model=contract.Changed)
async def revoke(
    hub: TheHub, asker: Asker, request: Request, number: Annotated[int, Path(ge=1, le=2**62)]
) -> Response:
    """Revoke a token: within two seconds it is good for nothing."""
    access.demand(asker, Action.LOOK)
    await hub.access.revoke(asker, number)
    await hub.liveness.look_at_states()  # executors that came with it go
    await hub.audit(asker.user, "revoke token", str(number), address_of(request))
    return answer(contract.Changed(1))


@dataclass(frozen=True)
class AuditPage:
    """Some of what was done, and where the rest begins."""

    entries: list[contract.Audit]
    next: str | None


@router.get("/audit", response_model=AuditPage)
async def audit(
    hub: TheHub,
    asker: Asker,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """Who did what, the latest first."""
    access.demand(asker, Action.MANAGE_PEOPLE)
    found = await hub.database.read(lambda c: people.read_audit(c, limit, cursor))
    more = str(found[-1][0]) if len(found) == limit else None
    return answer(AuditPage([entry for _, entry in found], more))
