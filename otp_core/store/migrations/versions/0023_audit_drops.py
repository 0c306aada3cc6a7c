"""What was exported of the audit trail, and what was dropped then. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
phase = "expand"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_export",
        sa.Column("key", BIG, autoincrement=False, nullable=False, comment="the audit row that tells of it"),
        sa.Column("first_seal", BIG, nullable=False),
        sa.Column("last_seal", BIG, nullable=False),
        sa.Column("until_id", BIG, nullable=False, comment="the last audit row in the file"),
        sa.Column("rows", BIG, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the file, hexadecimal"),
        sa.Column("file", sa.Text(), nullable=False, comment="its name when it was written"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_audit_export")),
    )
    op.create_table(
        "audit_drop",
        sa.Column("seal", BIG, autoincrement=False, nullable=False, comment="the seal that proves it"),
        sa.Column("last_seal", BIG, nullable=False, comment="the newest one that was taken away"),
        sa.Column("until_id", BIG, nullable=False, comment="the newest audit row that was"),
        sa.Column("rows", BIG, nullable=False),
        sa.Column("export", sa.Text(), nullable=False, comment="SHA-256 of the file that has them, hexadecimal"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("begun_at", BIG, nullable=False),
        sa.Column("ended_at", BIG, server_default=sa.text("0"), nullable=False, comment="0: rows of it are there yet"),
        sa.PrimaryKeyConstraint("seal", name=op.f("pk_audit_drop")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _take_apart()


def _take_apart() -> None:
    """What there is becomes the first part of the trail, as it lies: no row is copied. It is read once."""
    connection = op.get_bind()
    newest = connection.execute(sa.text("SELECT coalesce(max(id), 0) FROM audit")).scalar_one()
    month = connection.execute(
        sa.text(
            "SELECT extract(epoch FROM (date_trunc('month', greatest(now(), to_timestamp((:id >> 10) / 1000000.0))"
            " AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC')::bigint"
        ),
        {"id": newest},
    ).scalar_one()
    for statement in (
        "ALTER TABLE audit RENAME TO audit_first",
        "ALTER TABLE audit_first RENAME CONSTRAINT pk_audit TO audit_first_pkey",
        "ALTER INDEX ix_audit_customer RENAME TO audit_first_customer_idx",
        "CREATE TABLE audit (LIKE audit_first INCLUDING DEFAULTS INCLUDING COMMENTS) PARTITION BY RANGE (id)",
        "ALTER TABLE audit ADD CONSTRAINT pk_audit PRIMARY KEY (id)",
        "CREATE INDEX ix_audit_customer ON audit (customer) WHERE substr(event, 1, 6) NOT IN ('login.', 'looked')",
        f"ALTER TABLE audit ATTACH PARTITION audit_first FOR VALUES FROM (MINVALUE) TO ({month * 1_000_000 << 10})",
        "COMMENT ON COLUMN audit_first.node IS NULL",
        "CREATE TABLE audit_rest PARTITION OF audit DEFAULT",
    ):
        connection.execute(sa.text(statement))
