"""Result codes of SQLite."""

import sqlite3
from typing import Any

_TRANSIENT_CODES = {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTADB,
}  # fmt: skip
# SQLite has no result code for these errors: only the message distinguishes them from an error of a row.
_SCHEMA_MESSAGES = (
    "no such table",
    "no such column",
    "has no column named",
    "ON CONFLICT clause does not match",
)
REMEDIES = {
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_FULL: "free disk space",
    sqlite3.SQLITE_NOTADB: "restore it from a backup, or correct database.url",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup",
}


def is_transient(error: Any) -> bool:
    """Whether an error affects every row alike. One without a code comes from the driver and concerns a value."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (
        code & 0xFF in _TRANSIENT_CODES or any(words in str(error) for words in _SCHEMA_MESSAGES)
    )


def primary_code(error: Any) -> int:
    """The primary result code; 0 if the error has none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
