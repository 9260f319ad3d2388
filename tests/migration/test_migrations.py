"""Migrations make of an empty database what the code's tables say; made twice, they change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from parcs.hub.store import migrate, schema
from parcs.hub.store.database import Database
from tests.hub.conftest import PostgreSQL, postgresql  # noqa: F401  # a fixture


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_make_the_schema(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    if kind == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.database()
    database = Database(url)
    try:
        migrate.upgrade(database.engine)
        migrate.upgrade(database.engine)
        with database.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
            tables = set(sa.inspect(connection).get_table_names())
        assert tables == {*schema.metadata.tables, "alembic_version"}
    finally:
        database.close()
