"""The statements for MySQL, which differ from those for MariaDB: no server of MySQL runs in the tests."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.schema import CreateTable

from sparkle_app.plugin_api import AggregatesTable
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects.base import insert_nothing
from sparkle_app.storage.dialects.mysql_statements import Values, growing
from sparkle_app.storage.dialects.mysql_tables import MySqlTables, MySqlTypes
from sparkle_app.storage.models import SERIES


class Aggregates(AggregatesTable):
    __tablename__ = "mysql_aggregates"


TABLE: Table = data_table(Aggregates.__table__)


@pytest.fixture
def dialect() -> Any:
    """As after the first connection to MySQL 8.4."""
    dialect = MySQLDialect_pymysql(dbapi=MySQLDialect_pymysql.import_dbapi())
    dialect.server_version_info = (8, 4, 0)
    dialect._requires_alias_for_on_duplicate_key = True
    dialect.ddl_compiler = MySqlTables
    dialect.type_compiler_instance = MySqlTypes(dialect)
    return dialect


def test_rows_are_inserted_with_an_alias(dialect: Any) -> None:
    executed: list[tuple[str, tuple[Any, ...]]] = []

    def execute(statement: str, values: tuple[Any, ...]) -> None:
        executed.append((statement, values))

    connection: Any = SimpleNamespace(dialect=dialect, exec_driver_sql=execute)
    rows = [{column.name: f"{column.name} {number}" for column in TABLE.c} for number in range(2)]
    Values(connection, growing(mysql.insert(TABLE), TABLE), rows).insert(rows)
    ((statement, values),) = executed
    names = [column.name for column in TABLE.c]
    row = f"({', '.join(['%s'] * len(names))})"
    assert statement.startswith(
        f"INSERT INTO mysql_aggregates_data ({', '.join(names)}) VALUES {row}, {row} AS new ON DUPLICATE KEY UPDATE"
        " count = CASE WHEN (new.count >= {0}.count) THEN new.count ELSE {0}.count END,"
        " sum = CASE WHEN (new.count >= {0}.count) THEN new.sum ELSE {0}.sum END, ".format(
            "mysql_aggregates_data"
        )
    )
    assert values == tuple(row[name] for row in rows for name in names)


def test_the_trial_of_check_has_no_alias_which_mysql_refuses_after_a_query(dialect: Any) -> None:
    statement = growing(insert_nothing(mysql.insert(TABLE), TABLE), TABLE)
    compiled = str(statement.compile(dialect=dialect))
    assert " AS new" not in compiled
    assert "(VALUES(count) >= mysql_aggregates_data.count)" in compiled


def test_tables_have_a_collation_that_mysql_has(dialect: Any) -> None:
    compiled = str(CreateTable(SERIES).compile(dialect=dialect))
    assert compiled.rstrip().endswith(
        "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin"
    )
    assert "hostname VARCHAR(1024) NOT NULL" in compiled
