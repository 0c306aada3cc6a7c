"""What a token's codes were accepted for while the clock stood in the future. Frozen: a later change is a later
migration."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "token",
        sa.Column(
            "spent_ahead",
            sa.Text(),
            nullable=True,
            comment="spans of steps that were accepted while the clock stood in the future",
        ),
    )
