"""Tokens that drift, found without reading all of them. Frozen: a later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DRIFTS = sa.text("drift NOT BETWEEN -2 AND 2")


def upgrade() -> None:
    op.create_index("ix_token_drift", "token", ["token_id"], sqlite_where=DRIFTS, postgresql_where=DRIFTS)
