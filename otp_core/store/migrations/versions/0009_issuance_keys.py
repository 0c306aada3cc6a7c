"""Requests of the soft token, so that the same one gets the same token again. Frozen: a later change is a later
migration."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "issuance_key",
        sa.Column(
            "digest", sa.LargeBinary(), nullable=False, comment="keyed digest of what an app sent with its request"
        ),
        sa.Column("token_key", BIG, nullable=False),
        sa.Column(
            "repeats",
            sa.SmallInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how often it was sent again",
        ),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_issuance_key_token_key")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_issuance_key")),
    )
    op.create_index(op.f("ix_issuance_key_token_key"), "issuance_key", ["token_key"], unique=False)
