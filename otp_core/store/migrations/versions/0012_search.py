"""What customers are found by, lists by state, and look-up tables of the audit trail.
Frozen: a later change is a later migration.

The terms of the customers who are there are written after it, in steps (store/search_terms.py, ``fill``)."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("profile", sa.Column("reading", sa.Text(), comment="of the name, in kana"))
    op.drop_index("ix_profile_name", table_name="profile")
    op.drop_index("ix_profile_email", table_name="profile")
    _search_term()
    locked = sa.text("locked_at IS NOT NULL")
    op.create_index("ix_customer_otp_use_contract_id", "customer", ["otp_use", "contract_id"])
    op.create_index("ix_token_state_token_id", "token", ["state", "token_id"])
    op.create_index("ix_customer_contract_id_locked", "customer", ["contract_id"], sqlite_where=locked)
    _audit_lookup()


def _audit_lookup() -> None:
    op.create_table(
        "audit_stretch",
        sa.Column("first", BIG, autoincrement=False, nullable=False, comment="the id of its first audit row"),
        sa.Column("last", BIG, nullable=False, comment="and of its last one"),
        sa.PrimaryKeyConstraint("first", name=op.f("pk_audit_stretch")),
    )
    op.create_index("ix_audit_stretch_last", "audit_stretch", ["last"])
    op.create_table(
        "audit_subject",
        sa.Column("stretch", BIG, autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="c and the customer, or t and the token"),
        sa.Column("id", BIG, autoincrement=False, nullable=False, comment="of the audit row"),
        sa.PrimaryKeyConstraint("stretch", "subject", "id", name=op.f("pk_audit_subject")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_name",
        sa.Column("name", BYTEWISE, nullable=False, comment="e and the event, or a and the actor"),
        sa.Column("stretch", BIG, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="of the rows that have it"),
        sa.PrimaryKeyConstraint("name", "stretch", name=op.f("pk_audit_name")),
        sqlite_with_rowid=False,
    )


def _search_term() -> None:
    op.create_table(
        "search_term",
        sa.Column("term", BYTEWISE, nullable=False, comment="folded: see folding.py"),
        sa.Column("customer_key", BIG, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_search_term_customer_key")),
        sa.PrimaryKeyConstraint("term", "customer_key", name=op.f("pk_search_term")),
        sqlite_with_rowid=False,
    )
    last = op.get_bind().execute(sa.text("SELECT max(key) FROM customer")).scalar()
    if last is not None:
        meta = sa.table("meta", sa.column("name", sa.Text()), sa.column("value", sa.LargeBinary()))
        op.execute(meta.insert().values(name="search_terms", value=bytes(8) + last.to_bytes(8, "big")))
