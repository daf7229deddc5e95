"""One object for each database, with everything that differs.

A new database is a file here, a line in DIALECTS, and its drivers and the form of its URL in config/sections.py: the
settings are checked without the rest of storage.
"""

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.dialects.postgresql import PostgreSql
from sparkle_app.storage.dialects.sqlite import Sqlite

DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSql(), "sqlite": Sqlite()}
"""By SQLAlchemy's name of the database."""


def dialect_of(database: Engine | Connection | URL) -> Dialect:
    """The database's dialect."""
    return DIALECTS[database.get_backend_name() if isinstance(database, URL) else database.dialect.name]
