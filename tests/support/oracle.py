"""Oracle Database without a server: a connection that records the statements, and returns nothing but ids of names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import oracledb
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from sparkle_app.storage.engine import make_engine

Statement = tuple[str, Any, Mapping[str, Any]]
"""Text, values, and the types that the driver is told."""
# What SQLAlchemy asks a new connection.
_ANSWERS: Mapping[str, Sequence[Any]] = {
    "sys_context": [("SPARKLE",)],
    "select 1.1 from dual": [("1.1",)],
    "from dual": [(1,)],
}


class _Cursor:
    arraysize = 100
    outputtypehandler: Any = None

    def __init__(self, connection: "RecordingConnection") -> None:
        self.connection = connection
        self.description: Sequence[Any] | None = None
        self.rowcount = 0
        self.columns = 0
        self._rows: list[Any] = []
        self._types: Mapping[str, Any] = {}
        self._counts: list[int] = []

    def __enter__(self) -> "_Cursor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def var(self, *_: Any, **__: Any) -> Any:
        return _Variable()

    def setinputsizes(self, *_: Any, **types: Any) -> None:
        self._types = types

    def execute(self, statement: str, values: Any = None, **_: Any) -> None:
        self.connection.statements.append((statement, values, self._types))
        self._rows = next((list(rows) for words, rows in _ANSWERS.items() if words in statement.lower()), [])
        self._store_keys(statement, [values])
        if re.match(r"SELECT sparkle_(series|sources)\.key, sparkle_\w+\.id", statement):
            known = self.connection.keys
            self._rows = [(key, known.index(key)) for key in values.values() if key in known]
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            number = self.columns or 1
            self.description = [(f"C{n}", oracledb.DB_TYPE_VARCHAR, *(None,) * 5) for n in range(number)]
        else:
            self.description = None

    def executemany(self, statement: str, rows: Sequence[Any], **options: Any) -> None:
        self.connection.statements.append((statement, rows, self._types))
        self.description = None
        self._store_keys(statement, rows)
        self._counts = [1] * len(rows) if options.get("arraydmlrowcounts") else []

    def _store_keys(self, statement: str, rows: Sequence[Any]) -> None:
        if re.match("INSERT INTO sparkle_(series|sources) ", statement):
            self.connection.keys.extend(row["key"] for row in rows)

    def getarraydmlrowcounts(self) -> list[int]:
        return self._counts

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, *_: Any) -> list[Any]:
        return self.fetchall()


class _Variable:
    values: Sequence[Sequence[int]] = ([0],)

    def getvalue(self, *_: Any) -> int:
        return 0


class RecordingConnection:
    """Has the attributes of a connection of oracledb in thin mode that SQLAlchemy and the handler use."""

    thin = True
    version = "23.4.0.24.5"
    stmtcachesize = 20
    max_identifier_length = 128
    outputtypehandler: Any = None
    autocommit = False
    call_timeout = 0

    def __init__(self, statements: list[Statement]) -> None:
        self.statements = statements
        self.keys: list[bytes] = []

    def cursor(self, **_: Any) -> _Cursor:
        return _Cursor(self)

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ping(self) -> None:
        pass


def recording_engine(statements: list[Statement]) -> Engine:
    """An engine as the handler makes it, whose statements are recorded instead of sent."""
    engine = make_engine(make_url("oracle+oracledb://sparkle:x@host/?service_name=FREEPDB1"))

    @event.listens_for(engine, "do_connect")
    def on_connect(*_: Any) -> RecordingConnection:
        return RecordingConnection(statements)

    @event.listens_for(engine, "before_cursor_execute")
    def on_execute(_connection: Any, cursor: Any, _text: Any, _values: Any, context: Any, _many: Any) -> None:
        compiled = getattr(context, "compiled", None)
        cursor.columns = len(getattr(compiled, "_result_columns", ()) or ())

    return engine
