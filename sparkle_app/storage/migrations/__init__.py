"""Schema migrations with Alembic: the handler's revisions, and those that a plugin ships."""
