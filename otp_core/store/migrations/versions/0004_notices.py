"""Notices to customers: the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("customer_key", BIG, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_until", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'failed')", name=op.f("ck_outbox_state")),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_outbox_customer_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_state"), "outbox", ["state", "next_at"], unique=False)
