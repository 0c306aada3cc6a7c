"""Verifiers elsewhere: codes that were right, and what they have to be told. Frozen: a later change is a later
migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "verified_code",
        sa.Column(
            "fingerprint", BIG, autoincrement=False, nullable=False, comment="of verifier, token and code, keyed"
        ),
        sa.Column("expires_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_verified_code")),
    )
    op.create_index(op.f("ix_verified_code_expires_at"), "verified_code", ["expires_at"])
    op.create_table(
        "verifier_task",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False, comment="its name in the settings"),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True, comment="why the last attempt failed"),
        sa.CheckConstraint("act IN ('add', 'remove')", name=op.f("ck_verifier_task_act")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_verifier_task")),
    )
    op.create_index(op.f("ix_verifier_task_next_at"), "verifier_task", ["next_at"])
