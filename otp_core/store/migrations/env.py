"""Alembic's way in: it is given an open connection by engine.upgrade, and nothing else runs it."""

from alembic import context

from otp_core.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
