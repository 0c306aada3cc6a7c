"""Single sign-on of the console's staff: whom an OpenID provider knows, and what role it gave a session. Frozen: a
later change is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sign_on",
        sa.Column("staff_key", BIG, autoincrement=False, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False, comment="of the OpenID provider"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="the provider's name for them, which it never gives to another",
        ),
        sa.Column("called", sa.Text(), nullable=False, comment="what the provider called them when it was linked"),
        sa.Column("linked_at", BIG, nullable=False),
        sa.Column("used_at", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("asked_at", BIG, nullable=False, comment="when the last request that the provider answered was made"),
        sa.ForeignKeyConstraint(["staff_key"], ["staff.key"], name=op.f("fk_sign_on_staff_key")),
        sa.PrimaryKeyConstraint("staff_key", name=op.f("pk_sign_on")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_sign_on_issuer_subject")),
    )
    op.add_column(
        "staff_session",
        sa.Column(
            "most_role",
            sa.Text(),
            nullable=True,
            comment="the role that the OpenID provider gives them; NULL: it was not asked",
        ),
    )
