"""What an executor returns as"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executors", sa.Column("returns_as", sa.Text(), server_default="active", nullable=False))
    op.execute("UPDATE executors SET returns_as = state WHERE state IN ('draining', 'disabled')")
