"""Gives the table with the rows of a view the indexes and constraints that a plugin has declared for the view."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ClauseElement,
    Column,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    TextClause,
    UniqueConstraint,
)
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from sparkle_app.storage.columns import CompactId, CompactTime

_KINDS: dict[type, str] = {
    Index: "index",
    UniqueConstraint: "unique constraint",
    CheckConstraint: "check constraint",
    ForeignKeyConstraint: "foreign key",
}


def copy_constraints(view: Table, data: Table, *, foreign_keys: bool) -> None:
    """Copy the indexes and constraints that name only columns that are stored.

    Arguments:
        foreign_keys: whether the tables to which they refer are declared beside ``data``.
    """
    for each in _declared(view):
        if isinstance(each, ForeignKeyConstraint) and not foreign_keys:
            continue
        if type(each) in _KINDS and not _missing(each, view, data):
            data.append_constraint(_copy(each, data))


def left_out(view: Table, data: Table) -> Iterator[str]:
    """Descriptions of those that are not copied."""
    for each in _declared(view):
        kind, missing = _KINDS.get(type(each)), _missing(each, view, data)
        if kind and not missing:
            continue
        described = f"{kind or 'constraint'} {each.name or ''}".rstrip() + f" of {view.name}"
        yield described + (f", which names {' and '.join(missing)}" if missing else "")


def _declared(view: Table) -> list[Index | Constraint]:
    # The constraint of a type, such as an enumeration, is copied with the type.
    declared: list[Index | Constraint] = [*view.indexes, *view.constraints]
    found = [
        each
        for each in declared
        if not isinstance(each, PrimaryKeyConstraint) and not getattr(each, "_type_bound", False)
    ]
    return sorted(found, key=lambda each: str(each.name))


def _missing(each: Index | Constraint, view: Table, data: Table) -> list[str]:
    """The columns of the view that an index or a constraint names, and the table does not have."""
    parts: list[Any] = (
        [each.sqltext] if isinstance(each, CheckConstraint) else list(getattr(each, "columns", ()))
    )
    if isinstance(each, Index):
        parts = [*each.expressions, *each.kwargs.values()]
    named = set(chain.from_iterable(map(_names, parts)))
    # A condition on times and ids would not be true of the values that stand for them.
    stored = {
        column.name
        for column in data.c
        if not (isinstance(each, CheckConstraint) and isinstance(column.type, CompactId | CompactTime))
    }
    return [column.name for column in view.c if column.name in named and column.name not in stored]


def _names(part: Any) -> Iterator[str]:
    """What may be names of columns in a part of an index or a constraint."""
    for element in iterate(part) if isinstance(part, ClauseElement) else [part]:
        if isinstance(element, Column):
            yield element.name
        elif isinstance(element, TextClause) or not isinstance(element, ClauseElement):
            # SQL that is written as a text, or an option such as the names of further columns.
            yield from re.findall(r"\w+", str(element))


def _copy(each: Index | Constraint, data: Table) -> Index | Constraint:
    def of_data(element: Any, **_: Any) -> Any:
        return data.c[element.name] if isinstance(element, Column) else None

    def moved(value: Any) -> Any:
        return replacement_traverse(value, {}, of_data) if isinstance(value, ClauseElement) else value

    options: dict[str, Any] = {name: moved(value) for name, value in each.dialect_kwargs.items()}
    if isinstance(each, Index):
        return Index(each.name, *map(moved, each.expressions), unique=each.unique, **options)
    if isinstance(each, CheckConstraint):
        return CheckConstraint(moved(each.sqltext), each.name, **options)
    assert isinstance(each, ForeignKeyConstraint | UniqueConstraint)
    options |= {"deferrable": each.deferrable, "initially": each.initially}
    if isinstance(each, ForeignKeyConstraint):
        return ForeignKeyConstraint(
            [column.name for column in each.columns],
            [key.target_fullname for key in each.elements],
            each.name,
            each.onupdate,
            each.ondelete,
            use_alter=each.use_alter,
            match=each.match,
            **options,
        )
    return UniqueConstraint(*(column.name for column in each.columns), name=each.name, **options)
