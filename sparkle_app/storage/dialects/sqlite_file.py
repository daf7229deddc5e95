"""The file of a SQLite database: its space, what is damaged in it, and how long statements may take."""

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sparkle_app.storage.dialects.sqlite_errors import primary_code

# How many instructions of SQLite between two looks at the clock: some milliseconds.
_PROGRESS_INSTRUCTIONS = 100_000
# Of PRAGMA auto_vacuum.
_INCREMENTAL = 2
# 4 MB: in a fraction of a second.
_VACUUM_PAGES = 1000
_MIN_FREE_PAGES = 250


def return_space(connection: Connection) -> bool:
    """An incremental vacuum of some pages. The space of a twentieth of the file is left for new rows."""
    if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() != _INCREMENTAL:
        return False
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    excess = free - max(pages // 20, _MIN_FREE_PAGES)
    if excess > 0:
        statement = f"PRAGMA incremental_vacuum({min(excess, _VACUUM_PAGES)})"
        driver: Any = connection.connection.driver_connection
        try:
            # It frees a page each time it is stepped, which only executescript() repeats; it commits first.
            driver.executescript(statement)
        except sqlite3.Error as error:
            # SQLAlchemy has not seen the statement.
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                raise DBAPIError(statement, None, error) from error
            # Another program has begun to write since, for long. The next run returns the space.
            return False
    return bool(excess > _VACUUM_PAGES)


def space_warning(connection: Connection) -> str | None:
    """The mode is part of the file, and changes only with VACUUM."""
    if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == _INCREMENTAL:
        return None
    file = connection.engine.url.database
    return (
        f"{file}: the space of deleted rows is reused, but not returned to the disk; to change this, stop the"
        f" workers and run once: sqlite3 {file} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'"
    )


def damage(connection: Connection, seconds: float) -> str | None:
    """The result of PRAGMA quick_check, which reads the whole file."""
    limit_time(connection, seconds)
    try:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return None
        return str(error.orig)
    finally:
        limit_time(connection, None)
    return None if found == "ok" else " ".join(str(found).split())


def limit_time(connection: Connection, seconds: float | None) -> None:
    """Interrupt the statements of a connection after this time, counted from now; None: do not."""
    driver: Any = connection.connection.driver_connection
    if seconds is None:
        driver.set_progress_handler(None, 0)
        return
    deadline = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_INSTRUCTIONS)
