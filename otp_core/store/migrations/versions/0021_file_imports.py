"""Files that staff imports on the console: what was found, how far it is, and their sealed pieces. Frozen: a later
change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "file_import",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("choices", sa.Text(), nullable=False, comment="how it is read, JSON"),
        sa.Column("size", BIG, nullable=False, comment="octets"),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="keyed digest of the file and how it is read"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_by", BIG, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True, comment="NULL: nobody has to"),
        sa.Column("approval_key", BIG, nullable=True, comment="the request for a second person"),
        sa.Column("found", sa.Text(), server_default=sa.text("'{}'"), nullable=False, comment="by the check, JSON"),
        sa.Column("done", BIG, server_default=sa.text("0"), nullable=False, comment="octets checked, or rows written"),
        sa.Column("written", BIG, server_default=sa.text("0"), nullable=False, comment="rows that were new"),
        sa.Column("claim", BIG, server_default=sa.text("0"), nullable=False, comment="whoever works on it"),
        sa.Column("claimed_until", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column(
            "attempts", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="without any progress"
        ),
        sa.Column("why", sa.Text(), nullable=True, comment="it was not finished"),
        sa.Column("changed_at", BIG, nullable=False),
        sa.CheckConstraint("kind IN ('customers', 'tokens')", name=op.f("ck_file_import_kind")),
        sa.CheckConstraint(
            "state IN ('receiving', 'checking', 'wrong', 'checked', 'writing', 'done', 'stopped', 'withdrawn')",
            name=op.f("ck_file_import_state"),
        ),
        sa.ForeignKeyConstraint(["asked_by"], ["staff.key"], name=op.f("fk_file_import_asked_by")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_file_import")),
    )
    op.create_index("ix_file_import_state", "file_import", ["state", "key"])
    op.create_table(
        "file_piece",
        sa.Column("file_key", BIG, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="sealed"),
        sa.ForeignKeyConstraint(["file_key"], ["file_import.key"], name=op.f("fk_file_piece_file_key")),
        sa.PrimaryKeyConstraint("file_key", "number", name=op.f("pk_file_piece")),
    )
