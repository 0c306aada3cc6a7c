"""Keys of programs that use the API. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="keyed digest of what the program sends"),
        sa.Column("scopes", sa.Text(), nullable=False, comment="what it is for, separated by spaces"),
        sa.Column(
            "networks",
            sa.Text(),
            nullable=False,
            comment="where it may come from, separated by spaces; empty: anywhere",
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_api_key")),
        sa.UniqueConstraint("name", name=op.f("uq_api_key_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
