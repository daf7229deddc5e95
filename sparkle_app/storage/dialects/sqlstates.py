"""SQLSTATEs of the SQL standard, which the errors of many drivers have."""

from typing import Any

# Classes of errors that concern a row: cardinality, data, constraint, WITH CHECK OPTION.
_ROW_CLASSES = ("21", "22", "23", "44")


def sqlstate(error: Any) -> str | None:
    """The SQLSTATE of a driver's error; None if it has none."""
    arguments = getattr(error, "args", ())
    for value in (getattr(error, "sqlstate", None), getattr(error, "pgcode", None), *arguments[:1]):
        if isinstance(value, str) and len(value) == 5 and value.isalnum() and value == value.upper():
            return value
    return None


def is_row_state(state: str) -> bool:
    """Whether the error concerns a row."""
    return state.startswith(_ROW_CLASSES)


def is_constraint_violation(error: Any) -> bool:
    """Whether a row violates a constraint, such as a unique one."""
    return (sqlstate(error) or "").startswith("23")
