"""Requests that a second person approves are about more than customers, and carry what exactly is to be done; API keys
know who has made them. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _rebuild_approval()
    _rebuild_api_key()


def _rebuild_approval() -> None:
    """SQLite lets a column be NULL only in a new table."""
    op.drop_index("ix_approval_state", table_name="approval")
    op.create_table(
        "approval_0017",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("customer_key", BIG, nullable=True, comment="NULL: it is about no customer"),
        sa.Column(
            "subject",
            sa.Text(),
            server_default=sa.text("''"),
            nullable=False,
            comment="the name of staff, API key or file; empty: the customer, or nothing that has a name",
        ),
        sa.Column("asked_by", BIG, nullable=True, comment="NULL: a program"),
        sa.Column(
            "asked_by_program",
            sa.Text(),
            nullable=True,
            comment="the actor of its audit rows; NULL: a member of staff",
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True, comment="sealed: what exactly is to be done, JSON"),
        sa.Column("seen", sa.Text(), nullable=False, comment="what has to be as it was when it was asked, JSON"),
        sa.Column("state", sa.Text(), server_default=sa.text("'asked'"), nullable=False),
        sa.Column("decided_by", BIG, nullable=True),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("outcome", BIG, nullable=True, comment="the audit row of what was done; NULL: nothing yet"),
        sa.CheckConstraint(
            "state IN ('asked', 'approved', 'refused', 'withdrawn', 'done')", name=op.f("ck_approval_state")
        ),
        sa.CheckConstraint("(asked_by IS NULL) != (asked_by_program IS NULL)", name=op.f("ck_approval_asked_by_one")),
        sa.CheckConstraint("customer_key IS NULL OR subject = ''", name=op.f("ck_approval_subject_one")),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_approval_customer_key")),
        sa.ForeignKeyConstraint(["asked_by"], ["staff.key"], name=op.f("fk_approval_asked_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.key"], name=op.f("fk_approval_decided_by")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_approval")),
    )
    before = "key, act, customer_key, asked_by, asked_by_program, reason, seen, state, decided_by, expires_at"
    op.execute(f"INSERT INTO approval_0017 ({before}) SELECT {before} FROM approval")  # noqa: S608  constants
    op.drop_table("approval")
    op.rename_table("approval_0017", "approval")
    op.create_index("ix_approval_state", "approval", ["state", "key"], unique=False)


def _rebuild_api_key() -> None:
    """SQLite names no foreign key of a column that is added. Of keys that there are nobody is known to have made
    them."""
    op.create_table(
        "api_key_0017",
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
        sa.Column("made_by", BIG, nullable=True, comment="the member of staff who was shown it; NULL: a command"),
        sa.ForeignKeyConstraint(["made_by"], ["staff.key"], name=op.f("fk_api_key_made_by")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_api_key")),
        sa.UniqueConstraint("name", name=op.f("uq_api_key_name")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    before = "key, name, digest, scopes, networks"
    op.execute(f"INSERT INTO api_key_0017 ({before}) SELECT {before} FROM api_key")  # noqa: S608  constants
    op.drop_table("api_key")
    op.rename_table("api_key_0017", "api_key")
