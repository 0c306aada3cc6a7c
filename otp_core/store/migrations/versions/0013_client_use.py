"""What the RADIUS clients ask, in figures, and who else sends. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "client_use",
        sa.Column("client", sa.Text(), nullable=False, comment="its name in the settings"),
        sa.Column("since", BIG, nullable=False),
        _time("last_at", None),
        _time("unprotected_at", "without Message-Authenticator"),
        _time("present_at", "with its present secret"),
        _time("next_at", "with the one that is to follow"),
        sa.PrimaryKeyConstraint("client", name=op.f("pk_client_use")),
    )
    op.create_table(
        "client_period",
        sa.Column("begins_at", BIG, autoincrement=False, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("requests", "unprotected", "accepted", "challenged", "rejected", "silent")
        ),
        sa.PrimaryKeyConstraint("begins_at", "client", name=op.f("pk_client_period")),
    )
    op.create_table(
        "client_stranger",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        *(sa.Column(name, BIG, nullable=False) for name in ("number", "first_at", "last_at")),
        sa.PrimaryKeyConstraint("source", "cause", name=op.f("pk_client_stranger")),
    )


def _time(name: str, comment: str | None) -> sa.Column[int]:
    return sa.Column(name, BIG, server_default=sa.text("0"), nullable=False, comment=comment)
