"""Run by Alembic: applies the steps of `versions/` to the connection that `migrate` passes in."""

from alembic import context

from msgd.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes most things about a table only by copying it.
    render_as_batch=True,
)
context.run_migrations()
