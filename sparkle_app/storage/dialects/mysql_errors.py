"""Error numbers of MariaDB and MySQL."""

from typing import Any

DUPLICATE_KEY = 1062
NULL_VALUE = 1048
_NO_SUCH_OBJECT = 1305
_LOCK_CONFLICTS = {
    1205,  # lock wait timeout exceeded
    1213,  # deadlock
    1020,  # record has changed since last read (MariaDB's innodb_snapshot_isolation)
}
REFUSED_LOGINS = {
    1045, 1698, 1251, 1275,  # user name, password, or the way to log in
    1130,  # from this host
    1820, 1862, 3118, 4151,  # password expired, account locked
}  # fmt: skip
_READ_ONLY_OPTION = 1290
_READ_ONLY_SERVER = {1792, 1836}
TRANSIENT = {
    *_LOCK_CONFLICTS, _NO_SUCH_OBJECT, *REFUSED_LOGINS, *_READ_ONLY_SERVER,
    # A file or a disk, or damage to a table.
    3, 14, 23, 28, 1003, 1004, 1005, 1006, 1016, 1021, 1023, 1024, 1026, 1030, 1033, 1034, 1035, 1036, 1114, 1194,
    1195, 1812, 1813, 1814, 1815, 1877, 1878, 1932, 3019, 3169, 3675,
    # Memory, threads, connections and other resources.
    5, 1037, 1038, 1040, 1041, 1129, 1135, 1203, 1206, 1226, 1637, 3168,
    # The server shuts down, or terminates the session or the statement.
    1047, 1053, 1077, 1078, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 1928, 1969, 3024, 3032, 4031,
    # Missing privilege, database, table or column; a table that another worker creates at the same time.
    1044, 1046, 1049, 1050, 1054, 1142, 1143, 1146, 1227, 1356, 1410, 1412, 1449, 3159, 3572,
    # The transaction or its binary log.
    1180, 1181, 1197, 1297, 1598, 1614, 1615, 1665, 3100, 3101,
}  # fmt: skip
REMEDIES = {
    _READ_ONLY_OPTION: "set database.url to the primary, or make the server writable",
    1792: "set database.url to the primary, or make the server writable",
    1836: "set database.url to the primary, or make the server writable",
    1044: "grant the privilege to the user of database.url",
    1142: "grant the privilege to the user of database.url",
    1143: "grant the privilege to the user of database.url",
    1227: "grant the privilege to the user of database.url",
    1049: "create the database, or correct database.url",
    1054: "alter the table to the columns that the plugin declares",
    1146: "start a worker, which creates missing tables",
    28: "free disk space on the server",
    1021: "free disk space on the server",
    1114: "free disk space on the server",
    1040: "raise max_connections of the server",
    1203: "raise max_user_connections of the server",
    1226: "raise the user's limit",
    1205: "terminate the session that holds the lock",
    1665: "set binlog_format of the server to ROW or MIXED",
    3159: "add ssl_ca=FILE to database.url: the server requires TLS",
}


def error_number(error: Any) -> int | None:
    """The error number; None if the error does not have one."""
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) and number else None


def is_client_error(number: int) -> bool:
    """Whether the error is one of the driver: the server cannot be reached, or the connection is lost."""
    return 2000 <= number < 3000


def is_lock_conflict(error: Any) -> bool:
    """Whether another transaction is the cause. After a deadlock, the savepoints of the transaction are unknown."""
    number = error_number(error)
    return number in _LOCK_CONFLICTS or (number == _NO_SUCH_OBJECT and "SAVEPOINT" in str(error.args[1:]))


def is_read_only(error: Any) -> bool:
    """Whether the server is read-only. One of the numbers is that of any option that forbids a statement."""
    number, *rest = error.args or (None,)
    return number in _READ_ONLY_SERVER or (number == _READ_ONLY_OPTION and "read-only" in str(rest))
