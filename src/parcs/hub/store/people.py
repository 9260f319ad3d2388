"""Statements about users, tokens, answers to be repeated, and what was done by whom."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from parcs.contract import tasks as contract
from parcs.hub.store import schema, statements

_u: Final = schema.users
_k: Final = schema.tokens

LINK: Final = "link"
"""The kind of a token that is good for one login, and nothing else."""


class Bearer(NamedTuple):
    """Whose token it is."""

    token: int
    user: str
    role: str
    kind: str


def add_user(connection: sa.Connection, name: str, role: str, password: str | None, now: float) -> bool:
    """Add somebody; False if the name is taken."""
    row = {"name": name, "role": role, "password": password, "created": now, "disabled": False}
    return statements.insert_new(connection, _u, row)


def users(connection: sa.Connection) -> list[contract.User]:
    """Everybody."""
    return [_user(row) for row in connection.execute(sa.select(_u).order_by(_u.c.name))]


def user(connection: sa.Connection, name: str) -> contract.User | None:
    """One of them."""
    row = connection.execute(sa.select(_u).where(_u.c.name == name)).one_or_none()
    return None if row is None else _user(row)


def password_of(connection: sa.Connection, name: str) -> str | None:
    """The hash of a password, of somebody who may come in."""
    question = sa.select(_u.c.password).where(_u.c.name == name, sa.not_(_u.c.disabled))
    return connection.scalar(question)


def change_user(connection: sa.Connection, name: str, values: dict[str, Any]) -> bool:
    """Set columns; False if there is nobody of that name."""
    return bool(connection.execute(sa.update(_u).where(_u.c.name == name).values(values)).rowcount)


def admins(connection: sa.Connection) -> int:
    """How many there are who may do all."""
    question = sa.select(sa.func.count()).where(_u.c.role == "admin", sa.not_(_u.c.disabled))
    return int(connection.scalar(question) or 0)


def add_token(
    connection: sa.Connection,
    hashed: str,
    name: str,
    kind: str,
    owner: str,
    now: float,
    expires: float | None,
) -> contract.Token:
    """Keep a token's hash."""
    done = connection.execute(
        sa.insert(_k).values(
            hash=hashed, name=name, kind=kind, user=owner, created=now, expires=expires, revoked=False
        )
    )
    number = int(done.inserted_primary_key[0])  # type: ignore[index]  # one row was inserted
    return contract.Token(number, name, kind, owner, now, expires, None, False)


def bearer(connection: sa.Connection, hashed: str, now: float) -> Bearer | None:
    """Who shows this token; None if it is not valid, or its user may not come in."""
    question = (
        sa.select(_k.c.id, _k.c.user, _u.c.role, _k.c.kind)
        .join_from(_k, _u, _u.c.name == _k.c.user)
        .where(
            _k.c.hash == hashed,
            _k.c.kind != LINK,
            sa.not_(_k.c.revoked),
            sa.not_(_u.c.disabled),
            sa.or_(_k.c.expires.is_(None), _k.c.expires > now),
        )
    )
    row = connection.execute(question).one_or_none()
    return None if row is None else Bearer(*row)


def take_token(connection: sa.Connection, hashed: str, name: str, kind: str, owner: str, now: float) -> None:
    """Keep the hash of a token that was made elsewhere, if it is not there: another hub may do the same."""
    row = {"hash": hashed, "name": name, "kind": kind, "user": owner, "created": now, "revoked": False}
    statements.insert_new(connection, _k, row)


def touch(connection: sa.Connection, numbers: dict[int, float]) -> None:
    """When tokens were used last."""
    statement = sa.update(_k).where(_k.c.id == sa.bindparam("b_id")).values(last_used=sa.bindparam("b_at"))
    connection.execute(statement, [{"b_id": number, "b_at": at} for number, at in numbers.items()])


def tokens(connection: sa.Connection, owner: str | None) -> list[contract.Token]:
    """Somebody's tokens, or everybody's."""
    question = sa.select(_k).where(_k.c.kind != LINK).order_by(_k.c.id)
    if owner is not None:
        question = question.where(_k.c.user == owner)
    return [
        contract.Token(r.id, r.name, r.kind, r.user, r.created, r.expires, r.last_used, r.revoked)
        for r in connection.execute(question)
    ]


def revoke(connection: sa.Connection, number: int, owner: str | None) -> bool:
    """Revoke a token; False if there is none, or it is somebody else's."""
    question = sa.update(_k).where(_k.c.id == number)
    if owner is not None:
        question = question.where(_k.c.user == owner)
    return bool(connection.execute(question.values(revoked=True)).rowcount)


def renew_token(connection: sa.Connection, number: int, hashed: str) -> None:
    """Another secret for a token: the one before is good for nothing."""
    connection.execute(sa.update(_k).where(_k.c.id == number).values(hash=hashed))


def use_link(connection: sa.Connection, hashed: str, now: float) -> str | None:
    """Whom a one-time link lets in: now, and never again."""
    is_good = sa.and_(_k.c.hash == hashed, _k.c.kind == LINK, sa.not_(_k.c.revoked), _k.c.expires > now)
    used = sa.update(_k).where(is_good).values(revoked=True).returning(_k.c.user)
    return connection.execute(used).scalar_one_or_none()


def forget_tokens(connection: sa.Connection, before: float) -> None:
    """Delete what once let somebody into a page, and does no more."""
    is_old = sa.or_(_k.c.expires < before, sa.and_(_k.c.revoked, _k.c.created < before))
    connection.execute(sa.delete(_k).where(_k.c.kind.in_([LINK, "session"]), is_old))


def is_valid_token(connection: sa.Connection, number: int, now: float) -> bool:
    """Whether a token that was valid still is."""
    question = sa.select(_k.c.id).where(
        _k.c.id == number, sa.not_(_k.c.revoked), sa.or_(_k.c.expires.is_(None), _k.c.expires > now)
    )
    return connection.scalar(question) is not None


def recall(connection: sa.Connection, owner: str, key: str) -> tuple[str, str] | None:
    """The request and the answer that an idempotency key was used for."""
    table = schema.idempotency
    question = sa.select(table.c.request, table.c.answer).where(table.c.user == owner, table.c.key == key)
    row = connection.execute(question).one_or_none()
    return None if row is None else (row.request, row.answer)


def remember(connection: sa.Connection, owner: str, key: str, request: str, answer: str, now: float) -> bool:
    """Keep an answer for whoever asks the same again; False if there is one for this key."""
    row = {"user": owner, "key": key, "request": request, "answer": answer, "created": now}
    return statements.insert_new(connection, schema.idempotency, row)


def forget_answers(connection: sa.Connection, before: float) -> None:
    """Answers are kept for a while only."""
    table = schema.idempotency
    connection.execute(sa.delete(table).where(table.c.created < before))


def write_audit(
    connection: sa.Connection, at: float, who: str, action: str, subject: str, address: str
) -> None:
    """Write down who did what."""
    connection.execute(
        sa.insert(schema.audit).values(at=at, user=who, action=action, subject=subject, address=address)
    )


def read_audit(connection: sa.Connection, limit: int, before: int | None) -> list[tuple[int, contract.Audit]]:
    """What was done, the latest first, with numbers to go on from."""
    table = schema.audit
    question = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        question = question.where(table.c.id < before)
    return [
        (r.id, contract.Audit(r.at, r.user, r.action, r.subject, r.address))
        for r in connection.execute(question)
    ]


def put_archive(connection: sa.Connection, digest: str, data: bytes, files: int, now: float) -> None:
    """Keep an archive; the same one is kept once."""
    table = schema.archives
    if connection.execute(sa.update(table).where(table.c.digest == digest).values(used=now)).rowcount:
        return
    connection.execute(
        sa.insert(table).values(digest=digest, data=data, size=len(data), files=files, used=now)
    )


def archive(connection: sa.Connection, digest: str) -> bytes | None:
    """An archive's bytes."""
    found = connection.scalar(sa.select(schema.archives.c.data).where(schema.archives.c.digest == digest))
    return None if found is None else bytes(found)


def has_archive(connection: sa.Connection, digest: str) -> bool:
    """Whether there is such an archive."""
    table = schema.archives
    return connection.scalar(sa.select(table.c.digest).where(table.c.digest == digest)) is not None


def _user(row: Any) -> contract.User:
    return contract.User(row.name, row.role, row.created, row.disabled)
