"""Tokens handed out to whoever asks. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "handout",
        sa.Column("token_key", BIG, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, comment="the source address, or the network that counts as one"),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_handout_token_key")),
        sa.PrimaryKeyConstraint("token_key", name=op.f("pk_handout")),
    )
    with op.batch_alter_table("handout", schema=None) as batch_op:
        batch_op.create_index("ix_handout_origin_token_key", ["origin", "token_key"], unique=False)
