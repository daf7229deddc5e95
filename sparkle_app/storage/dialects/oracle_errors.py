"""Error numbers of Oracle Database, and codes of its driver."""

from typing import Any

DUPLICATE_KEY = 1
LOCK_CONFLICTS = {
    60, 4020,  # deadlock
    54, 4021, 30006,  # waited too long
    8177,  # cannot serialize
}  # fmt: skip
REFUSED_LOGINS = {1005, 1017, 1045, 28000, 28001, 28002, 28003, 28009}
READ_ONLY = {1456, 16000}
_NETWORK = {
    3113, 3114, 3135, 3136,  # the connection is lost
    1033, 1034, 1089, 1090, 1092, 1109,  # the instance starts or stops
}  # fmt: skip
# TNS errors, such as 12541: no listener.
_TNS = range(12150, 12700)
TRANSIENT = {
    *LOCK_CONFLICTS, *REFUSED_LOGINS, *READ_ONLY, *_NETWORK, *_TNS,
    # Sessions, processes, memory and cancelled statements.
    18, 20, 28, 600, 604, 1012, 1013, 2391, 2396, 2399, 4030, 4031, 4036, 7445, 25401, 25402, 25403, 25405, 25408,
    # Space, undo, archive log, files.
    257, 272, 376, 1110, 1114, 1115, 1536, 1555, 1578, 1628, 1630, 1631, 1632, 1650, 1651, 1652, 1653, 1654, 1655,
    1658, 1659, 1688, 1691, 1692, 1693, 16014, 16038, 19502, 19504, 19505, 27037, 27040, 27041, 27072, 30032, 30036,
    # Missing privilege, table, column or package; a table that another worker creates at the same time.
    904, 942, 955, 972, 1031, 1502, 1950, 2289, 4043, 4044, 4061, 4068, 6550, 12838, 14400,
}  # fmt: skip
# Of the driver: the connection is lost, the call takes too long, no connection can be made.
_DRIVER_TRANSIENT = ("DPY-1001", "DPY-3010", "DPY-3015", "DPY-4011", "DPY-4024", "DPY-6")
REMEDIES = {
    257: "free space for archived redo logs",
    904: "alter the table to the columns that the plugin declares",
    942: "start a worker, which creates missing tables",
    1031: "grant the privilege to the user of database.url",
    1456: "set database.url to the primary database",
    1536: "raise the user's quota of the tablespace",
    1653: "add space to the tablespace",
    1654: "add space to the tablespace",
    1950: "grant the user a quota of the tablespace",
    6550: "grant EXECUTE on DBMS_LOCK to the user of database.url",
    16000: "set database.url to the primary database",
    30036: "add space to the undo tablespace",
    54: "terminate the session that holds the lock",
    30006: "terminate the session that holds the lock",
}


def number(error: Any) -> int | None:
    """The error number, such as 1 of ORA-00001; None if the error is one of the driver."""
    first = error.args[0] if error.args else None
    code = getattr(first, "code", None)
    return code if isinstance(code, int) and code else None


def is_transient(error: Any) -> bool:
    """Whether an error affects every row alike."""
    code = number(error)
    return code in TRANSIENT if code else _full_code(error).startswith(_DRIVER_TRANSIENT)


def is_unreachable(error: Any) -> bool:
    """Whether no database answered, or the connection is lost."""
    code = number(error)
    return code is None or code in _NETWORK or code in _TNS


def _full_code(error: Any) -> str:
    """Such as DPY-6005."""
    return str(getattr(error.args[0], "full_code", "") if error.args else "")
