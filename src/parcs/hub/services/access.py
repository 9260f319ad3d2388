"""Who may do what: one table; and the tokens by which the hub knows who asks."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import argon2
import sqlalchemy as sa

from parcs import errors
from parcs.contract import tasks as contract
from parcs.hub.services.once import Key, once
from parcs.hub.store import people
from parcs.hub.store.database import Database
from parcs.hub.store.people import Bearer

ROLES: Final = ("viewer", "member", "admin")


class Action(StrEnum):
    """What a request does, as far as rights go."""

    LOOK = "look"
    SUBMIT = "submit"
    CHANGE_OWN = "change own tasks"
    CHANGE_ALL = "change everybody's tasks"
    MANAGE_EXECUTORS = "manage executors"
    RUN_JOBS = "run and stop jobs"
    MANAGE_CLUSTER = "change the cluster"
    MANAGE_PEOPLE = "manage people and their tokens"
    EXECUTE = "run tasks"


RIGHTS: Final[dict[str, frozenset[Action]]] = {
    "viewer": frozenset({Action.LOOK}),
    "member": frozenset({Action.LOOK, Action.SUBMIT, Action.CHANGE_OWN, Action.RUN_JOBS}),
    "admin": frozenset(set(Action) - {Action.EXECUTE}),
    "executor": frozenset({Action.EXECUTE}),
}
"""By role; a token of an executor has a role of its own, whosever it is."""

_KNOWN_S: Final = 2.0
"""For how long a token is not looked up again: so long may a revoked one still be good."""
_PREFIX: Final = "parcs_"
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@")
_PASSWORD: Final = 8
_SECRET: Final = 32
_LINK_S: Final = 3600.0


def allows(bearer: Bearer, action: Action) -> bool:
    """Whether the table lets them."""
    role = "executor" if bearer.kind == "executor" else bearer.role
    return action in RIGHTS[role]


def demand(bearer: Bearer, action: Action) -> None:
    """Refuse what the table does not have.

    Raises:
        NotAllowedError: the role of this bearer does not allow it.
    """
    if not allows(bearer, action):
        role = "an executor's token" if bearer.kind == "executor" else f"a {bearer.role}"
        raise errors.NotAllowedError(f"{role} may not {action.value}")


def hashed(secret: str) -> str:
    """What is kept of a token. It has 256 random bits: nothing slower is needed."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class Access:
    """Users and tokens."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._known: dict[str, tuple[Bearer, float]] = {}
        self._used: dict[int, float] = {}
        self._passwords = argon2.PasswordHasher()

    async def bearer(self, secret: str) -> Bearer:
        """Who shows this token.

        Raises:
            NotLoggedInError: nobody that the hub knows.
        """
        key = hashed(secret)
        now = time.monotonic()
        found = self._known.get(key)
        if found is None or found[1] < now:
            bearer = await self._database.read(lambda c: people.bearer(c, key, self._clock()))
            if bearer is None:
                self._known.pop(key, None)
                raise errors.NotLoggedInError("this token is unknown, expired or revoked")
            found = self._known[key] = (bearer, now + _KNOWN_S)
            if len(self._known) > 10_000:
                self._known = {k: v for k, v in self._known.items() if v[1] > now}
        self._used[found[0].token] = self._clock()
        return found[0]

    async def keep_use(self) -> None:
        """Write down when tokens were used last: now and then, all together."""
        used, self._used = self._used, {}
        if used:
            await self._database.write(lambda c: people.touch(c, used))

    def set_up(self) -> str | None:
        """The first start: makes the user ``admin`` and gives a token for this machine; None if there are users."""
        secret = _secret()

        def work(connection: sa.Connection) -> bool:
            if people.users(connection):
                return False
            if not people.add_user(connection, "admin", "admin", None, self._clock()):
                return False  # another hub is just doing the same
            people.add_token(connection, hashed(secret), "this machine", "api", "admin", self._clock(), None)
            return True

        return secret if self._database.run_now(work) else None

    async def as_user(self, name: str) -> Bearer | None:
        """Somebody, without a token: for Khala's clients alone."""
        user = await self._database.read(lambda c: people.user(c, name))
        return None if user is None or user.disabled else Bearer(0, user.name, user.role, "api")

    def make_now(self, name: str, kind: str) -> str:
        """A token of the admin for this machine itself, before the hub serves anybody."""
        secret = _secret()
        self._database.run_now(
            lambda c: people.add_token(c, hashed(secret), name, kind, "admin", self._clock(), None)
        )
        return secret

    def is_known(self, secret: str) -> bool:
        """Whether a token is good: before the hub serves anybody."""
        return self._database.run_now(lambda c: people.bearer(c, hashed(secret), self._clock())) is not None

    def take_now(self, secret: str, name: str, kind: str) -> None:
        """A token of the admin that was made elsewhere: kept if it is not known.

        Raises:
            SettingsError: it is too short to be one.
        """
        if len(secret) < _SECRET:
            raise errors.SettingsError(f"the token for {name} has less than {_SECRET} characters")

        self._database.run_now(
            lambda c: people.take_token(c, hashed(secret), name, kind, "admin", self._clock())
        )

    async def add_token(
        self, bearer: Bearer, owner: str, name: str, kind: str, lasts_s: float | None, key: str = ""
    ) -> contract.NewToken:
        """Make a token. Its secret is told this one time; asked with the same key again, it has another secret.

        Raises:
            InvalidRequestError, NotFoundError, NotAllowedError: it cannot be.
        """
        if kind not in ("api", "executor"):
            raise errors.InvalidRequestError(f"{kind!r} is neither api nor executor", "kind")
        if owner != bearer.user or kind == "executor":
            demand(bearer, Action.MANAGE_PEOPLE if kind == "api" else Action.MANAGE_EXECUTORS)
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise errors.InvalidRequestError("is empty, too long or cannot be printed", "name")
        if lasts_s is not None and not 0 < lasts_s < 1e10:
            raise errors.InvalidRequestError("is no sensible time", "lasts_s")
        named = Key.of(bearer.user, key, [owner, name, kind, lasts_s])
        return await self._new_token(owner, name, kind, lasts_s, named)

    async def _new_token(
        self, owner: str, name: str, kind: str, lasts_s: float | None, key: Key | None = None
    ) -> contract.NewToken:
        secret, now = _secret(), self._clock()
        expires = None if lasts_s is None else now + lasts_s

        def work(connection: sa.Connection) -> contract.Token:
            if people.user(connection, owner) is None:
                raise errors.NotFoundError(f"there is no user {owner!r}")
            return people.add_token(connection, hashed(secret), name, kind, owner, now, expires)

        token, is_first = await once(self._database, key, work, contract.Token, self._clock)
        if not is_first:
            await self._database.write(lambda c: people.renew_token(c, token.id, hashed(secret)))
        return contract.NewToken(token, secret)

    async def tokens(self, bearer: Bearer) -> list[contract.Token]:
        """Everybody's for an admin, one's own for others."""
        owner = None if allows(bearer, Action.MANAGE_PEOPLE) else bearer.user
        return await self._database.read(lambda c: people.tokens(c, owner))

    async def revoke(self, bearer: Bearer, number: int) -> None:
        """Revoke a token: within two seconds it is good for nothing.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        owner = None if allows(bearer, Action.MANAGE_PEOPLE) else bearer.user
        if not await self._database.write(lambda c: people.revoke(c, number, owner)):
            raise errors.NotFoundError(f"there is no token {number} of yours")
        self._known = {key: known for key, known in self._known.items() if known[0].token != number}

    async def add_user(
        self, bearer: Bearer, name: str, role: str, password: str | None, key: str = ""
    ) -> contract.User:
        """Add somebody.

        Raises:
            InvalidRequestError, ConflictError: it cannot be.
        """
        if not 0 < len(name) <= 64 or not set(name) <= _NAME:
            raise errors.InvalidRequestError("has 1 to 64 letters, digits, or ._-@", "name")
        _check_role(role)
        kept = None if password is None else self._hash(password)
        now = self._clock()

        def work(connection: sa.Connection) -> contract.User:
            if not people.add_user(connection, name, role, kept, now):
                raise errors.ConflictError(f"there is a user {name!r} already")
            return contract.User(name, role, now, False)

        named = Key.of(bearer.user, key, [name, role])
        return (await once(self._database, named, work, contract.User, self._clock))[0]

    async def change_user(
        self, name: str, *, role: str | None = None, password: str | None = None, disabled: bool | None = None
    ) -> contract.User:
        """Change what was given.

        Raises:
            InvalidRequestError, NotFoundError, ConflictError: it cannot be.
        """
        values: dict[str, object] = {}
        if role is not None:
            _check_role(role)
            values["role"] = role
        if password is not None:
            values["password"] = self._hash(password)
        if disabled is not None:
            values["disabled"] = disabled

        def work(connection: sa.Connection) -> contract.User:
            if values:
                people.change_user(connection, name, values)
            user = people.user(connection, name)
            if user is None:
                raise errors.NotFoundError(f"there is no user {name!r}")
            if not people.admins(connection):
                raise errors.ConflictError("somebody has to stay an admin")
            return user

        user = await self._database.write(work)
        self._known.clear()
        return user

    async def users(self) -> list[contract.User]:
        """Everybody."""
        return await self._database.read(people.users)

    def link(self, user: str) -> str:
        """A word that lets somebody log in once, within the hour."""
        word, now = secrets.token_urlsafe(24), self._clock()
        self._database.run_now(
            lambda c: people.add_token(c, hashed(word), "login link", people.LINK, user, now, now + _LINK_S)
        )
        return word

    async def log_in_by_link(self, word: str, lasts_s: float) -> contract.NewToken:
        """Use such a word.

        Raises:
            NotLoggedInError: it was used, is too old, or never was.
        """
        user = await self._database.write(lambda c: people.use_link(c, hashed(word), self._clock()))
        if user is None:
            raise errors.NotLoggedInError("this link was used, or is too old; parcs up prints a new one")
        return await self._new_token(user, "login by link", "session", lasts_s)

    async def log_in(self, name: str, password: str, lasts_s: float) -> contract.NewToken:
        """By name and password.

        Raises:
            NotLoggedInError: they do not fit.
        """
        kept = await self._database.read(lambda c: people.password_of(c, name))
        try:
            # Without such a user the same work is done: the time does not tell which names there are.
            await asyncio.to_thread(self._passwords.verify, kept or _nobody(), password)
        except argon2.exceptions.VerificationError as error:
            raise errors.NotLoggedInError("name or password is wrong") from error
        if not kept:
            raise errors.NotLoggedInError("name or password is wrong")
        return await self._new_token(name, "login", "session", lasts_s)

    def _hash(self, password: str) -> str:
        if not _PASSWORD <= len(password) <= 1000:
            raise errors.InvalidRequestError(
                f"has less than {_PASSWORD} characters, or far too many", "password"
            )
        return self._passwords.hash(password)


_nobodys_hash = ""


def _nobody() -> str:
    """The hash of a password that nobody knows."""
    global _nobodys_hash  # noqa: PLW0603  # made once: it takes some time
    _nobodys_hash = _nobodys_hash or argon2.PasswordHasher().hash(_secret())
    return _nobodys_hash


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise errors.InvalidRequestError(f"{role!r} is none of {', '.join(ROLES)}", "role")


def _secret() -> str:
    return _PREFIX + secrets.token_urlsafe(32)
