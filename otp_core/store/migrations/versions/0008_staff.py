"""The console's staff: people, passkeys, sessions, approvals; indexes for what they look for. Frozen: a
later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _staff()
    _passkeys()
    _sessions()
    _approvals()
    op.create_index(
        "ix_customer_locked_at", "customer", ["locked_at"], sqlite_where=sa.text("locked_at IS NOT NULL"), unique=False
    )
    op.create_index(
        "ix_audit_customer",
        "audit",
        ["customer"],
        sqlite_where=sa.text("substr(event, 1, 6) <> 'login.'"),
        postgresql_where=sa.text("substr(event, 1, 6) <> 'login.'"),
        unique=False,
    )
    op.create_index("ix_profile_name", "profile", ["name"], unique=False)
    op.create_index("ix_profile_email", "profile", ["email"], unique=False)


def _staff() -> None:
    op.create_table(
        "staff",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("disabled_at", BIG, nullable=True),
        sa.Column(
            "customer_key",
            BIG,
            nullable=True,
            comment="the account whose password and code sign them in; NULL: passkeys alone",
        ),
        sa.Column(
            "link_digest",
            sa.LargeBinary(),
            nullable=True,
            comment="keyed digest of the one-time link; NULL: none is open",
        ),
        sa.Column("link_until", BIG, server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "role IN ('auditor', 'operator', 'supervisor', 'administrator')", name=op.f("ck_staff_role")
        ),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_staff_customer_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_staff")),
        sa.UniqueConstraint("name", name=op.f("uq_staff_name")),
        sa.UniqueConstraint("customer_key", name=op.f("uq_staff_customer_key")),
        sa.UniqueConstraint("link_digest", name=op.f("uq_staff_link_digest")),
    )


def _passkeys() -> None:
    op.create_table(
        "passkey",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("staff_key", BIG, nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, comment="COSE"),
        sa.Column("sign_count", BIG, nullable=False),
        sa.Column("used_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("challenged_at", BIG, nullable=False, comment="when the last challenge it has answered was made"),
        sa.ForeignKeyConstraint(["staff_key"], ["staff.key"], name=op.f("fk_passkey_staff_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )
    op.create_index(op.f("ix_passkey_staff_key"), "passkey", ["staff_key"], unique=False)


def _sessions() -> None:
    op.create_table(
        "staff_session",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="keyed digest of the id in the cookie"),
        sa.Column("staff_key", BIG, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seen_at", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("confirmed_at", BIG, nullable=False, comment="when passkey or code was given last"),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="sealed: what the pages remember"),
        sa.ForeignKeyConstraint(["staff_key"], ["staff.key"], name=op.f("fk_staff_session_staff_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_staff_session")),
        sa.UniqueConstraint("digest", name=op.f("uq_staff_session_digest")),
    )
    op.create_index(op.f("ix_staff_session_staff_key"), "staff_session", ["staff_key"], unique=False)


def _approvals() -> None:
    op.create_table(
        "approval",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("customer_key", BIG, nullable=False),
        sa.Column("asked_by", BIG, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "seen", sa.Text(), nullable=False, comment="the customer's use of OTP and token when it was asked, JSON"
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'asked'"), nullable=False),
        sa.Column("decided_by", BIG, nullable=True),
        sa.Column("expires_at", BIG, nullable=False),
        sa.CheckConstraint(
            "state IN ('asked', 'approved', 'refused', 'withdrawn', 'done')", name=op.f("ck_approval_state")
        ),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_approval_customer_key")),
        sa.ForeignKeyConstraint(["asked_by"], ["staff.key"], name=op.f("fk_approval_asked_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.key"], name=op.f("fk_approval_decided_by")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_approval")),
    )
    op.create_index("ix_approval_state", "approval", ["state", "key"], unique=False)
