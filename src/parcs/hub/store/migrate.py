"""The database's tables as this version needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import alembic.command
import alembic.config
import sqlalchemy as sa

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 7000
"""PostgreSQL's advisory lock: hubs that start together migrate one after another."""


def upgrade(engine: sa.Engine) -> None:
    """Bring a database to this version's tables. What is there already stays."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_FOLDER))
    with engine.connect().execution_options(is_writing=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
