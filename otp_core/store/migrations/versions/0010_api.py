"""Keys of programs that use the API, which ask a second person too, and answers that are given again.
Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _api_keys()
    _rebuild_approval()
    _kept_answers()


def _api_keys() -> None:
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


def _rebuild_approval() -> None:
    """One that a program asks for has no member of staff who did. SQLite lets a column be NULL only in a new table."""
    op.drop_index("ix_approval_state", table_name="approval")
    op.create_table(
        "approval_0010",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("customer_key", BIG, nullable=False),
        sa.Column("asked_by", BIG, nullable=True, comment="NULL: a program"),
        sa.Column(
            "asked_by_program",
            sa.Text(),
            nullable=True,
            comment="the actor of its audit rows; NULL: a member of staff",
        ),
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
        sa.CheckConstraint("(asked_by IS NULL) != (asked_by_program IS NULL)", name=op.f("ck_approval_asked_by_one")),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_approval_customer_key")),
        sa.ForeignKeyConstraint(["asked_by"], ["staff.key"], name=op.f("fk_approval_asked_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.key"], name=op.f("fk_approval_decided_by")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_approval")),
    )
    before = "key, act, customer_key, asked_by, reason, seen, state, decided_by, expires_at"
    op.execute(f"INSERT INTO approval_0010 ({before}) SELECT {before} FROM approval")  # noqa: S608  constants
    op.drop_table("approval")
    op.rename_table("approval_0010", "approval")
    op.create_index("ix_approval_state", "approval", ["state", "key"], unique=False)


def _kept_answers() -> None:
    op.create_table(
        "kept_answer",
        sa.Column(
            "digest", sa.LargeBinary(), nullable=False, comment="keyed digest of API key, path and Idempotency-Key"
        ),
        sa.Column("request", sa.LargeBinary(), nullable=False, comment="keyed digest of what was asked"),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="sealed: it may hold a permit"),
        sa.Column("expires_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_kept_answer")),
    )
    op.create_index(op.f("ix_kept_answer_expires_at"), "kept_answer", ["expires_at"], unique=False)
