"""How wrong codes missed, by audit row. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "login_remark",
        sa.Column("id", BIG, autoincrement=False, nullable=False, comment="of the audit row"),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_remark")),
    )
