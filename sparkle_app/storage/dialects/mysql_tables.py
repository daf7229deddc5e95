"""CREATE TABLE for MariaDB and MySQL: the tables of plugins keep what those of other databases keep."""

from typing import Any

from sqlalchemy import Table, UniqueConstraint
from sqlalchemy.dialects.mysql.base import MySQLDDLCompiler, MySQLTypeCompiler

# An index entry has at most 3,072 bytes, and a character may have four of them.
_INDEXED_LENGTH = 510


class MySqlTables(MySQLDDLCompiler):
    """Texts that differ in case, composition or a space at the end are different, whatever the server's default is."""

    def post_create_table(self, table: Table) -> str:
        """Options that the table does not declare itself."""
        # Both compare code points, and do not pad.
        collation = "utf8mb4_nopad_bin" if self.dialect.is_mariadb else "utf8mb4_0900_bin"
        defaults = {"engine": "InnoDB", "row_format": "DYNAMIC", "charset": "utf8mb4", "collate": collation}
        declared = {name.removeprefix("mysql_").removeprefix("default_") for name in table.kwargs}
        if declared & {"charset", "collate"}:
            declared |= {"charset", "collate"}
        options = [f"{name.upper()}={value}" for name, value in defaults.items() if name not in declared]
        return " ".join([super().post_create_table(table), *options])


class MySqlTypes(MySQLTypeCompiler):
    """What SQLAlchemy's types are in the other databases, where these are smaller, or have no length."""

    def visit_string(self, type_: Any, **kw: Any) -> str:
        """A string without a length: TEXT, which can be in no index."""
        if type_.length is not None:
            return super().visit_string(type_, **kw)
        return f"VARCHAR({_INDEXED_LENGTH})" if _is_indexed(kw.get("type_expression")) else "TEXT"

    def visit_datetime(self, type_: Any, **kw: Any) -> str:
        """With microseconds."""
        return "DATETIME(6)"

    def visit_time(self, type_: Any, **kw: Any) -> str:
        """With microseconds."""
        return "TIME(6)"

    def visit_float(self, type_: Any, **kw: Any) -> str:
        """Of double precision, unless another is declared."""
        return "DOUBLE" if type_.precision is None else super().visit_float(type_, **kw)


def _is_indexed(column: Any) -> bool:
    table = getattr(column, "table", None)
    if table is None:
        return False
    indexes = [*table.indexes, *(each for each in table.constraints if isinstance(each, UniqueConstraint))]
    return column.primary_key or any(column.name in index.columns for index in indexes)
