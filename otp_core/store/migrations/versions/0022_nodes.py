"""Nodes: who serves the store, their clocks, and the tags of their audit ids; which node wrote an audit row. Frozen: a
later change is a later migration."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "node",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "configured", sa.Text(), nullable=False, comment="what its settings call it: the name without a suffix"
        ),
        sa.Column("holder", sa.Text(), nullable=False, comment="the process that has the name: nodes/holder.py"),
        sa.Column("run", BIG, nullable=False, comment="random: another one after each start"),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("oldest", sa.Text(), nullable=False, comment="schema that its code works with"),
        sa.Column("newest", sa.Text(), nullable=False, comment="schema that its code works with"),
        sa.Column("started_at", BIG, nullable=False, comment="by the store's clock, as seen_at and left_at"),
        sa.Column("seen_at", BIG, nullable=False),
        sa.Column("left_at", BIG, nullable=True, comment="NULL: it was not stopped in order"),
        sa.Column("beat", sa.SmallInteger(), nullable=False, comment="seconds between two signs of life"),
        sa.Column("logins", BIG, server_default=sa.text("0"), nullable=False, comment="accepted since it was started"),
        sa.Column(
            "clock_offset",
            BIG,
            nullable=True,
            comment="ms that its clock is ahead of the store's; NULL: it is the same clock",
        ),
        sa.Column(
            "silent", sa.Text(), nullable=True, comment="why it answers no login because of its clock; NULL: it does"
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    op.create_table(
        "node_clock",
        sa.Column("machine", sa.Text(), nullable=False, comment="a digest of the machine's ID"),
        sa.Column("configured", sa.Text(), nullable=False, comment="the node's name in its settings"),
        sa.Column(
            "latest",
            BIG,
            nullable=False,
            comment="the latest time that its clock showed and that was believed, in ms",
        ),
        sa.Column("anchor", sa.Text(), nullable=True, comment="clock.Anchor"),
        sa.Column("seen_at", BIG, nullable=False, comment="by the store's clock"),
        sa.PrimaryKeyConstraint("machine", "configured", name=op.f("pk_node_clock")),
    )
    op.create_table(
        "id_tag",
        sa.Column("tag", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("run", BIG, nullable=False, comment="the node that has it"),
        sa.PrimaryKeyConstraint("tag", name=op.f("pk_id_tag")),
    )
    op.add_column(
        "audit",
        sa.Column("node", sa.Text(), nullable=True, comment="which node wrote it; NULL: an earlier version"),
    )
