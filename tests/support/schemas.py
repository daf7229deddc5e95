"""Schemas of databases: scripts, and what a database has, for comparisons."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from tests.support.postgres import PostgresServer

_FOLDER = Path(__file__).parent / "schemas"


def baseline(url: str) -> str:
    """The statements that create the tables of schema revision 0001 in a database of this kind."""
    return (_FOLDER / f"0001-{make_url(url).get_backend_name()}.sql").read_text("utf-8")


def run_script(url: str, script: str, server: PostgresServer | None) -> None:
    """Execute a script with the database's own client; it stops at the first error."""
    database = make_url(url).database
    assert database
    if server:
        server.run_script(database, script)
        return
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)


def tables(url: str) -> dict[str, Any]:
    """Columns, primary key and indexes of each table."""
    engine = create_engine(url, poolclass=NullPool)
    found = inspect(engine)
    return {
        name: {
            "columns": [
                (each["name"], str(each["type"]), each["nullable"], each["default"])
                for each in found.get_columns(name)
            ],
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted((str(each["name"]), each["column_names"]) for each in found.get_indexes(name)),
        }
        for name in found.get_table_names()
    }
