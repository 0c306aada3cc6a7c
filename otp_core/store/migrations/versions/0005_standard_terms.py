"""The field's own terms (fingerprint, digest, unclaimed token); tokens whose codes are verified elsewhere, and first
factors with several rounds. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RENAMED = (
    ("customer", "failed_mark", "failed_fingerprint"),
    ("challenge", "password_mark", "password_fingerprint"),
    ("permit", "mark", "digest"),
)


def upgrade() -> None:
    for table, before, after in RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")
    op.add_column("challenge", sa.Column("first_factor_state", sa.LargeBinary(), nullable=True))
    op.add_column("challenge", sa.Column("attributes", sa.Text(), nullable=True))
    _rebuild_token()
    _rebuild_session()
    op.create_table(
        "unclaimed_token",
        sa.Column("token_key", BIG, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, comment="the source address, or the network that counts as one"),
        sa.ForeignKeyConstraint(["token_key"], ["token.key"], name=op.f("fk_unclaimed_token_token_key")),
        sa.PrimaryKeyConstraint("token_key", name=op.f("pk_unclaimed_token")),
    )
    op.execute("INSERT INTO unclaimed_token (token_key, origin) SELECT token_key, origin FROM handout")
    op.drop_index("ix_handout_origin_token_key", table_name="handout")
    op.drop_table("handout")
    op.create_index("ix_unclaimed_token_origin_token_key", "unclaimed_token", ["origin", "token_key"], unique=False)


def _rebuild_session() -> None:
    """The unique constraint has the column's name in its own, so the table is made anew. Sessions stay open."""
    op.create_table(
        "session_0005",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="keyed digest of the id in the cookie"),
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
        sa.UniqueConstraint("digest", name=op.f("uq_session_digest")),
    )
    op.execute(
        "INSERT INTO session_0005 SELECT key, mark, customer_key, source, seen_at, expires_at, data, proof_token_key,"
        " proof_until FROM session"
    )
    op.drop_table("session")
    op.rename_table("session_0005", "session")
    op.create_index("ix_session_customer_key", "session", ["customer_key"], unique=False)
    op.create_index("ix_session_expires_at", "session", ["expires_at"], unique=False)


def _rebuild_token() -> None:
    """A seed may be absent: SQLite takes NOT NULL back only with a new table. Foreign keys are off meanwhile
    (engine.upgrade), so those that refer to the table by its name go on holding."""
    op.create_table(
        "token_0005",
        sa.Column("key", BIG, autoincrement=False, nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column(
            "seed",
            sa.LargeBinary(),
            nullable=True,
            comment="sealed: see sealing.py; NULL: the codes are verified elsewhere",
        ),
        sa.Column(
            "verifier", sa.Text(), server_default=sa.text("'local'"), nullable=False, comment="who knows its codes"
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("digits", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.SmallInteger(), nullable=False, comment="seconds"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_step", BIG, server_default=sa.text("(-1)"), nullable=False),
        sa.Column("drift", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_fingerprint", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("last_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("state IN ('available', 'bound', 'retired', 'lost')", name=op.f("ck_token_state")),
        sa.CheckConstraint("seed IS NOT NULL OR verifier != 'local'", name=op.f("ck_token_local_has_seed")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_token")),
        sa.UniqueConstraint("token_id", name=op.f("uq_token_token_id")),
    )
    op.execute(
        "INSERT INTO token_0005 SELECT key, token_id, seed, 'local', kind, algorithm, digits, period, state, last_step,"
        " drift, last_mark, last_at FROM token"
    )
    op.drop_table("token")
    op.rename_table("token_0005", "token")
