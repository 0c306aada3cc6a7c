"""Sessions of the customers' pages, tokens reserved for one customer, accepted terms of use. Frozen: a later change is
a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "session",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=False, comment="keyed fingerprint of the id in the cookie"),
        sa.Column("customer_key", BIG, nullable=True, comment="NULL: nobody has signed in yet"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seen_at", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="sealed: what the pages remember"),
        sa.Column(
            "proof_token_key", BIG, nullable=True, comment="the token whose code was spent here to let a new one in"
        ),
        sa.Column("proof_until", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_session_customer_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_session")),
        sa.UniqueConstraint("mark", name=op.f("uq_session_mark")),
    )
    op.create_index("ix_session_customer_key", "session", ["customer_key"], unique=False)
    op.create_index("ix_session_expires_at", "session", ["expires_at"], unique=False)
    op.create_table(
        "reservation",
        sa.Column("token_key", BIG, autoincrement=False, nullable=False),
        sa.Column("customer_key", BIG, nullable=False),
        sa.Column("session_key", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_reservation_customer_key")),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_reservation_token_key")),
        sa.PrimaryKeyConstraint("token_key", name=op.f("pk_reservation")),
    )
    op.create_index(op.f("ix_reservation_expires_at"), "reservation", ["expires_at"], unique=False)
    op.create_index("ix_reservation_session_key", "reservation", ["session_key"], unique=False)
    op.create_table(
        "acceptance",
        sa.Column("customer_key", BIG, autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), nullable=False, comment="of the terms of use"),
        sa.Column("accepted_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_acceptance_customer_key")),
        sa.PrimaryKeyConstraint("customer_key", "version", name=op.f("pk_acceptance")),
    )
