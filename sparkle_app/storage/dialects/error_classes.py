"""What an error of a database means, by its SQLSTATE or by the exceptions of PEP 249."""

from typing import Any

from sparkle_app.storage.dialects.sqlstates import is_row_state, sqlstate

# Exceptions of PEP 249 that concern a row; any other concerns all of them alike.
_ROW_ERRORS = {"DataError", "IntegrityError", "NotSupportedError"}
_UNREACHABLE = {"OperationalError", "InterfaceError"}


class ErrorClasses:
    """The classification of the errors of a database, unless it has a better one."""

    def is_own(self, error: BaseException) -> bool:
        """Whether an error comes from this database's driver."""
        return not _names(error).isdisjoint({"DatabaseError", "InterfaceError"})

    def is_transient(self, error: Any) -> bool:
        """Whether an error of this database is transient and affects every row alike."""
        state = sqlstate(error)
        return not is_row_state(state) if state else _names(error).isdisjoint(_ROW_ERRORS)

    def server_message(self, error: Any) -> str | None:
        """The database's error message for a rejected statement; None if the database cannot be reached."""
        state = sqlstate(error)
        unreachable = state.startswith("08") if state else not _names(error).isdisjoint(_UNREACHABLE)
        return None if unreachable else str(error)

    def remedy(self, error: Any) -> str:
        """How to correct what :meth:`server_message` describes."""
        return "correct this in the database"

    def is_refused_login(self, error: Any) -> bool:
        """Whether the database rejected the user name or the password, so that a retry would not help."""
        return (sqlstate(error) or "").startswith("28")

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the server of this connection does not accept writes, and a new connection may lead to another."""
        return False

    def is_null_error(self, error: Any, column: str) -> bool:
        """Whether a row had no value for this column, which requires one."""
        return False

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether an error of this database is a lock conflict with another transaction, to be retried immediately."""
        return (sqlstate(error) or "").startswith("40")


def _names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__} - {"Exception", "BaseException"}
