"""Tasks that are being cancelled"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("is_cancelling")
    op.create_index(
        "ix_tasks_cancelling", "tasks", ["executor"], unique=False, sqlite_where=where, postgresql_where=where
    )
