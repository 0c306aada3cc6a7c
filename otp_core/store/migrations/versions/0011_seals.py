"""Seals of the audit trail; looks at customers, which the index of acts leaves out. Frozen: a later change is a
later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "seal",
        sa.Column("number", BIG, autoincrement=False, nullable=False),
        sa.Column("until_id", BIG, nullable=False, comment="the last audit row that it covers"),
        sa.Column("body", sa.Text(), nullable=False, comment="what was signed, JSON"),
        sa.Column("signature", sa.LargeBinary(), nullable=False, comment="Ed25519"),
        sa.Column("marks", sa.LargeBinary(), nullable=False, comment="id and 64 bits of the digest of each row"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_seal")),
    )
    op.create_index(op.f("ix_seal_until_id"), "seal", ["until_id"], unique=False)
    acts = sa.text("substr(event, 1, 6) NOT IN ('login.', 'looked')")
    op.drop_index("ix_audit_customer", table_name="audit")
    op.create_index("ix_audit_customer", "audit", ["customer"], unique=False, sqlite_where=acts, postgresql_where=acts)
