"""Several tokens for one customer: who has which stands in a table of its own. Frozen: a later change is a later
migration."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "binding",
        sa.Column("customer_key", BIG, autoincrement=False, nullable=False),
        sa.Column("token_key", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=True, comment="what the customer calls the token; NULL: nothing"),
        sa.Column(
            "bound_at",
            BIG,
            server_default=sa.text("0"),
            nullable=False,
            comment="0: before 0.3.0, which noted it first",
        ),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_binding_customer_key")),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_binding_token_key")),
        sa.PrimaryKeyConstraint("customer_key", "token_key", name=op.f("pk_binding")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO binding (customer_key, token_key) SELECT key, token_key FROM customer WHERE token_key IS NOT NULL"
    )
    op.create_index("ix_binding_token_key", "binding", ["token_key"], unique=False)
    _rebuild_customer()


def _rebuild_customer() -> None:
    """Without the column, its constraint and its index, which SQLite takes away only with a new table. Foreign keys are
    off meanwhile (engine.upgrade), so those that refer to the table by its name go on holding."""
    op.drop_index("ix_customer_token_key", table_name="customer")
    op.create_table(
        "customer_0007",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("otp_use", sa.Text(), nullable=False),
        sa.Column("locked_at", BIG, nullable=True),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("failed_fingerprint", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=True, comment="reply attributes, JSON"),
        sa.CheckConstraint(
            "otp_use IN ('none', 'active', 'suspended', 'lost', 'reissue permitted')", name=op.f("ck_customer_otp_use")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_customer")),
        sa.UniqueConstraint("contract_id", name=op.f("uq_customer_contract_id")),
    )
    columns = "key, contract_id, otp_use, locked_at, failures, failed_at, failed_fingerprint, language, attributes"
    op.execute(f"INSERT INTO customer_0007 SELECT {columns} FROM customer")  # noqa: S608  constants
    op.drop_table("customer")
    op.rename_table("customer_0007", "customer")
