"""How Alembic runs migrations here: over the connection that `store.migrate` gives it."""

from alembic import context

from parcs.hub.store import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.metadata, render_as_batch=True
)
context.run_migrations()
