"""Statements of Oracle Database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ClauseElement, Executable, Table, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from sparkle_app.storage.statements import key_names


class Merge(Executable, ClauseElement):
    """MERGE of one row, for many rows at once, with parameters such as ``p_hostname``.

    Arguments:
        names: the columns of the rows.
        updates: whether it updates a row whose count is not larger.
    """

    inherit_cache = False

    def __init__(self, table: Table, names: Sequence[str], *, updates: bool) -> None:
        self.table = table
        self.names = names
        self.updates = updates


@compiles(Merge, "oracle")
def _compile_merge(element: Merge, compiler: Any, **options: Any) -> str:
    table, preparer = element.table, compiler.preparer
    keys, others = key_names(table)
    quoted = {name: preparer.quote(name) for name in element.names}
    # Typed parameters: the driver passes each value as what the column is.
    values = {name: bindparam(f"p_{name}", type_=table.c[name].type) for name in element.names}
    source = ", ".join(f"{compiler.process(values[name], **options)} AS {quoted[name]}" for name in quoted)
    same = " AND ".join(f"t.{quoted[name]} = s.{quoted[name]}" for name in keys)
    update = ""
    if element.updates:
        changes = ", ".join(f"t.{quoted[name]} = s.{quoted[name]}" for name in others)
        larger = f"s.{quoted['count']} >= t.{quoted['count']}"
        update = f" WHEN MATCHED THEN UPDATE SET {changes} WHERE {larger}"
    return (
        f"MERGE INTO {preparer.format_table(table)} t USING (SELECT {source} FROM dual) s ON ({same}){update}"
        f" WHEN NOT MATCHED THEN INSERT ({', '.join(f't.{each}' for each in quoted.values())})"
        f" VALUES ({', '.join(f's.{each}' for each in quoted.values())})"
    )


class BucketNumber(FunctionElement[Any]):
    """The number of the bucket that contains a time; the second argument is its size in seconds."""

    inherit_cache = True


@compiles(BucketNumber, "oracle")
def _compile_bucket_number(element: BucketNumber, compiler: Any, **options: Any) -> str:
    at, size = element.clauses
    # Equal expressions of GROUP BY and SELECT must be equal as texts, too.
    seconds = compiler.process(size, **{**options, "literal_binds": True})
    since = f"({compiler.process(at, **options)} - TIMESTAMP '1970-01-01 00:00:00')"
    elapsed = (
        f"EXTRACT(DAY FROM {since}) * 86400 + EXTRACT(HOUR FROM {since}) * 3600"
        f" + EXTRACT(MINUTE FROM {since}) * 60 + EXTRACT(SECOND FROM {since})"
    )
    return f"FLOOR(({elapsed}) / {seconds})"
