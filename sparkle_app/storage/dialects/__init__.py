"""One object for each database, with everything that differs.

A new database is a file here, an entry of DIALECTS, and its drivers and the form of its URL in config/urls.py: the
settings are checked without the rest of storage.
"""

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from sparkle_app.storage.dialects.base import DIALECTS, Dialect, dialect_named
from sparkle_app.storage.dialects.mysql import MySql
from sparkle_app.storage.dialects.oracle import Oracle
from sparkle_app.storage.dialects.postgresql import PostgreSql
from sparkle_app.storage.dialects.sqlite import Sqlite

DIALECTS.update(mysql=MySql(), oracle=Oracle(), postgresql=PostgreSql(), sqlite=Sqlite())


def dialect_of(database: Engine | Connection | URL) -> Dialect:
    """The database's dialect."""
    return dialect_named(database.get_backend_name() if isinstance(database, URL) else database.dialect.name)
