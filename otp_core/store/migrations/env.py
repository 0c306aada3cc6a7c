"""Alembic's way in: it is given an open connection by store/migrating.py, and nothing else runs it."""

from alembic import context

from otp_core.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    version_table=context.config.attributes.get("version_table", "alembic_version"),
)
with context.begin_transaction():
    context.run_migrations()
