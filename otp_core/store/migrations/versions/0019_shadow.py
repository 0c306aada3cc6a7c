"""Shadow mode: what the old server's answers, compared with ours, say of each customer. Frozen: a later change is a
later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "shadow_login",
        sa.Column("client", sa.Text(), nullable=False, comment="its name in the settings"),
        sa.Column(
            "customer",
            sa.Text(),
            nullable=False,
            comment="the contract ID, or the name that only the old server knows",
        ),
        sa.Column("since", BIG, nullable=False),
        sa.Column("last_at", BIG, nullable=False),
        sa.Column("logins", sa.Integer(), nullable=False, comment="accepted by the old server"),
        sa.Column("agreed", sa.Integer(), nullable=False),
        sa.Column("in_a_row", sa.Integer(), nullable=False, comment="agreed since the last difference"),
        sa.Column("refused", sa.Integer(), nullable=False, comment="by the old server"),
        sa.Column("let_in", sa.Integer(), nullable=False, comment="refused there, let in here"),
        sa.Column(
            "first",
            sa.Text(),
            nullable=True,
            comment="what stands in the way of the first round, or of the whole login",
        ),
        sa.Column("second", sa.Text(), nullable=True, comment="of the answer to the question for a code"),
        sa.Column("differed_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("client", "customer", name=op.f("pk_shadow_login")),
        sqlite_with_rowid=False,
    )
