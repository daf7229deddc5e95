"""Queries of the database, without any code of the handler."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from sparkle_app.storage.migrations.schema import VERSIONS
from sparkle_app.storage.models import Base

EVERY_DATABASE = pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
"""Runs a test that uses ``database_url`` with each database, not only with those that differ most."""
Rows = list[Mapping[str, Any]]


def query(url: str, statement: str, **values: object) -> Rows:
    """All rows of a statement."""
    with _engine(url).connect() as connection:
        return [dict(row) for row in connection.execute(text(statement), values).mappings()]


def count(url: str, table: str) -> int:
    """The number of rows of a table; 0 if it does not exist."""
    try:
        return int(query(url, f"SELECT count(*) AS n FROM {table}")[0]["n"])
    except Exception as error:
        if "no such table" in str(error) or "does not exist" in str(error) or "doesn't exist" in str(error):
            return 0
        raise


@lru_cache(maxsize=32)
def _engine(url: str) -> Engine:
    # What a dialect asks a new server takes longer than most queries, as does PyMySQL's preparation of TLS. No
    # connection is kept.
    options = {"ssl_disabled": True} if url.startswith("mysql") else {}
    return create_engine(url, poolclass=NullPool, connect_args=options)


def drop_tables(url: str) -> None:
    """Drop the tables that a test has created, of a database that another program may use."""
    engine = create_engine(url, poolclass=NullPool)
    Base.metadata.drop_all(engine)
    VERSIONS.drop(engine, checkfirst=True)


def of_series(condition: str) -> str:
    """An SQL condition for rows of the tables with data: on hostname, metric and resolution."""
    return f"series_id IN (SELECT id FROM sparkle_series WHERE {condition})"
