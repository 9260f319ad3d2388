"""The tables. What migrations make of an empty database is the same: a test compares the two.

Times are seconds since 1970, as `store.clock` has them. A column called ``body`` is JSON.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)
Number: Final = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

users: Final = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
)

tokens: Final = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("user", sa.Text, sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("last_used", sa.Double),
    sa.Column("revoked", sa.Boolean, nullable=False, default=False),
)

archives: Final = sa.Table(
    "archives",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("size", Number, nullable=False),
    sa.Column("files", sa.Integer, nullable=False),
    sa.Column("used", sa.Double, nullable=False),
)

specs: Final = sa.Table(
    "specs",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("digest", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("archive", sa.Text, nullable=False),
)
"""What the tasks of one submission have in common; the same content is kept once."""

demands: Final = sa.Table(
    "demands",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("body", sa.Text, nullable=False, unique=True),
)

tasks: Final = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("spec", Number, nullable=False),
    sa.Column("demand", Number, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("retries", sa.Integer, nullable=False),
    sa.Column("has_compile", sa.Boolean, nullable=False),
    sa.Column("waits_for", sa.Integer, nullable=False),
    sa.Column("series", Number),
    sa.Column("position", sa.Integer),
    sa.Column("parameters", sa.Text),
    sa.Column("labels", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("executor", sa.Text),
    sa.Column("is_cancelling", sa.Boolean, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("signal", sa.Integer),
    sa.Column("matched", sa.Boolean),
    sa.Column("why", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
is_ready: Final = sa.text("tasks.state = 'queued' AND tasks.waits_for = 0")
is_active: Final = sa.text("tasks.state IN ('compiling', 'running')")
is_cancelling: Final = sa.text("tasks.is_cancelling")
"""In the indexes' own words: with values bound to them, SQLite would not see that an index fits."""
_ready = sa.text("state = 'queued' AND waits_for = 0")
_active = sa.text("state IN ('compiling', 'running')")
sa.Index(
    "ix_tasks_ready",
    tasks.c.demand,
    tasks.c.priority.desc(),
    tasks.c.id,
    sqlite_where=_ready,
    postgresql_where=_ready,
)
sa.Index("ix_tasks_active", tasks.c.executor, tasks.c.id, sqlite_where=_active, postgresql_where=_active)
_cancelling = sa.text("is_cancelling")
sa.Index("ix_tasks_cancelling", tasks.c.executor, sqlite_where=_cancelling, postgresql_where=_cancelling)
sa.Index("ix_tasks_state", tasks.c.state, tasks.c.id)
sa.Index("ix_tasks_user", tasks.c.user, tasks.c.id)
sa.Index(
    "ix_tasks_name",
    tasks.c.name,
    tasks.c.id,
    sqlite_where=sa.text("name <> ''"),
    postgresql_where=sa.text("name <> ''"),
)
sa.Index("ix_tasks_created", tasks.c.created)
_array = sa.text("series IS NOT NULL")
sa.Index("ix_tasks_series", tasks.c.series, tasks.c.id, sqlite_where=_array, postgresql_where=_array)

labels: Final = sa.Table(
    "labels",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("task", Number, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("ix_labels_task", labels.c.task)

dependencies: Final = sa.Table(
    "dependencies",
    metadata,
    sa.Column("task", Number, primary_key=True),
    sa.Column("needs", Number, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("ix_dependencies_needs", dependencies.c.needs)

attempts: Final = sa.Table(
    "attempts",
    metadata,
    sa.Column("task", Number, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("executor", sa.Text, nullable=False),
    sa.Column("executor_name", sa.Text, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("signal", sa.Integer),
    sa.Column("compile_exit_code", sa.Integer),
    sa.Column("cpu_s", sa.Double),
    sa.Column("memory", Number),
    sa.Column("why", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

outputs: Final = sa.Table(
    "outputs",
    metadata,
    sa.Column("task", Number, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", Number, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("size", Number, nullable=False),
)
"""Pieces of streams, and kept files as ``file/PATH``."""

executors: Final = sa.Table(
    "executors",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("busy", sa.Integer, nullable=False),
    sa.Column("offer", sa.Text, nullable=False),
    sa.Column("cpus", sa.Integer, nullable=False),
    sa.Column("memory", Number, nullable=False),
    sa.Column("cpu_percent", sa.Double, nullable=False),
    sa.Column("memory_used", Number, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("token", Number),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
    sa.Column("returns_as", sa.Text, nullable=False, server_default="active"),
)
"""``returns_as`` is what an admin decided, and the state in which one that is gone comes back."""

executor_sessions: Final = sa.Table(
    "executor_sessions",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("number", Number, nullable=False),
)
"""Which connection is an executor's last one: beside `executors`, whose rows change with every sign of life."""

hubs: Final = sa.Table(
    "hubs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
)

idempotency: Final = sa.Table(
    "idempotency",
    metadata,
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

audit: Final = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
)
