"""Sessions of executors"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "executor_sessions",
        sa.Column("executor", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.INTEGER(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("executor", name=op.f("pk_executor_sessions")),
    )
    op.execute("INSERT INTO executor_sessions (executor, number) SELECT id, 0 FROM executors")
