"""The first schema. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "challenge",
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("customer_key", BIG, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("tries_left", sa.SmallInteger(), nullable=False),
        sa.Column("password_mark", BIG, nullable=True),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_challenge")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("challenge", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_challenge_customer_key"), ["customer_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_challenge_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "token",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False, comment="sealed: see sealing.py"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("digits", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.SmallInteger(), nullable=False, comment="seconds"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_step", BIG, server_default=sa.text("(-1)"), nullable=False),
        sa.Column("drift", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_mark", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("last_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("state IN ('available', 'bound', 'retired', 'lost')", name=op.f("ck_token_state")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_token")),
        sa.UniqueConstraint("token_id", name=op.f("uq_token_token_id")),
    )
    op.create_table(
        "customer",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("otp_use", sa.Text(), nullable=False),
        sa.Column("token_key", BIG, nullable=True, comment="the token bound now"),
        sa.Column("locked_at", BIG, nullable=True),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("failed_mark", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=True, comment="reply attributes, JSON"),
        sa.CheckConstraint("otp_use != 'active' OR token_key IS NOT NULL", name=op.f("ck_customer_active_has_token")),
        sa.CheckConstraint(
            "otp_use IN ('none', 'active', 'suspended', 'lost', 'reissue permitted')",
            name=op.f("ck_customer_otp_use"),
        ),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_customer_token_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_customer")),
        sa.UniqueConstraint("contract_id", name=op.f("uq_customer_contract_id")),
    )
    with op.batch_alter_table("customer", schema=None) as batch_op:
        batch_op.create_index("ix_customer_token_key", ["token_key"], unique=False)

    op.create_table(
        "permit",
        sa.Column("customer_key", BIG, autoincrement=False, nullable=False),
        sa.Column("mark", BIG, nullable=False, comment="keyed fingerprint of the permit"),
        sa.Column("expires_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_permit_customer_key")),
        sa.PrimaryKeyConstraint("customer_key", name=op.f("pk_permit")),
    )
    op.create_table(
        "profile",
        sa.Column("customer_key", BIG, autoincrement=False, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True, comment="NULL: no password is checked here"),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_profile_customer_key")),
        sa.PrimaryKeyConstraint("customer_key", name=op.f("pk_profile")),
    )
