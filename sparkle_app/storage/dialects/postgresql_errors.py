"""SQLSTATEs and messages of PostgreSQL."""

from typing import Any

# SQLSTATEs of a deadlock, a wait for a lock that exceeded lock_timeout, and a transaction that cannot be serialized.
LOCK_STATES = ("40P01", "55P03", "40001")
# SQLSTATE of a statement that a standby, or a server that has been made read-only, rejects.
READ_ONLY_STATE = "25006"
# SQLSTATE classes, and single SQLSTATEs, of errors that are transient and affect every row alike.
_TRANSIENT_STATES = (
    "08", "28", "3D", "3F", "40", "53", "55", "57", "58", "F0", "XX",
    # Session terminated while idle.
    READ_ONLY_STATE, "25P03", "25P04",
    # Missing privilege, table, column, type or unique constraint: the schema has to be corrected.
    "42501", "42P01", "42703", "42704", "42P10",
)  # fmt: skip
_DISK_FULL = "53100"
# By SQLSTATE.
_REMEDIES = {
    READ_ONLY_STATE: "set database.url to the primary, or make the server writable",
    "3F000": "create the schema of the user's search_path",
    "42501": "grant the privilege to the user of database.url",
    "42P01": "start a worker, which creates missing tables",
    "42703": "alter the table to the columns that the plugin declares",
    "42P10": "create the primary key that the plugin declares",
    _DISK_FULL: "free disk space on the server",
    "55P03": "terminate the session that holds the lock",
}
# In the language of the server, of which two are known here; with others, a worker waits as for an unreachable server.
_REFUSED_LOGINS = (
    "authentication failed for user", "no password supplied", "no pg_hba.conf entry for host",
    "не прошёл проверку подлинности", "в pg_hba.conf нет записи",
)  # fmt: skip
# Types that a driver raises without an SQLSTATE for a lost connection; its other types concern a value.
_CONNECTION_ERRORS = {"OperationalError", "InterfaceError", "InternalError"}


def state(error: Any) -> str | None:
    """The SQLSTATE, as psycopg2 or psycopg names it; None if no server answered."""
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)


def remedy(error: Any) -> str:
    """What to do about an error; empty: nothing is known. A driver passes no SQLSTATE of a failed connection."""
    unnamed = _DISK_FULL if "No space left on device" in str(error) else ""
    return _REMEDIES.get(state(error) or unnamed, "")


def is_transient(error: Any) -> bool:
    """Whether an error affects every row alike; without an SQLSTATE, by the type of the driver's error."""
    if found := state(error):
        return found.startswith(_TRANSIENT_STATES)
    names = [each.__name__ for each in type(error).__mro__]
    return names[0] == "DatabaseError" or not _CONNECTION_ERRORS.isdisjoint(names)


def is_refused_login(error: Any) -> bool:
    """Whether the server rejected the login: a driver does not pass the SQLSTATE of a failed connection."""
    return not state(error) and any(words in str(error) for words in _REFUSED_LOGINS)
