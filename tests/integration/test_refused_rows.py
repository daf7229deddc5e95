"""A row that the database rejects becomes a dead letter; an error that affects every row is transient."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, Float, Uuid, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Mapped, Session, mapped_column

from sparkle_app.ingest.sql_writer import Refusal, SqlWriter
from sparkle_app.model.errors import Reason, TransientError
from sparkle_app.model.record import Outcome, Record
from sparkle_app.plugin.legacy import LegacyPlugin
from sparkle_app.plugin_api import Base, Reading, StoredReading
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.models import tables_of
from tests.integration.test_statements import START
from tests.support.database import EVERY_DATABASE

pytestmark = EVERY_DATABASE


class Level(Base):
    __tablename__ = "levels"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    level: Mapped[float] = mapped_column(Float)


def careless(_dt: datetime, _host: str, _key: str, value: Any, *, session: Session, config_id: int) -> None:
    session.add(Level(level=value))


def swallowing(*reading: Any, session: Session, config_id: int) -> None:
    careless(*reading, session=session, config_id=config_id)
    try:
        session.commit()
    except Exception:
        return


def undoing(*reading: Any, session: Session, config_id: int) -> None:
    careless(*reading, session=session, config_id=config_id)
    try:
        session.commit()
    except Exception:
        session.rollback()


PACKAGES = {each.__name__: LegacyPlugin(each.__name__, each, 63) for each in (careless, swallowing, undoing)}
TABLES = tables_of(Level, *(plugin.DataFrame for plugin in PACKAGES.values()))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(make_url(database_url))
    Base.metadata.create_all(engine, tables=TABLES)
    yield engine
    engine.dispose()


def a_reading(number: int, plugin: str, value: Any) -> Reading:
    return Reading(
        number.to_bytes(16),
        1,
        "host",
        plugin,
        "k",
        value,
        START + number,
        START,
        True,
        "telemetry",
        0,
        number,
    )


def store(engine: Engine, plugin: str, values: list[Any]) -> tuple[list[StoredReading], list[Refusal]]:
    readings = [a_reading(number, plugin, value) for number, value in enumerate(values)]
    outcomes = [Outcome(Record("telemetry", 0, each.offset, START, b""), [each], []) for each in readings]
    with ThreadPoolExecutor() as executor:
        writer = SqlWriter(engine, PACKAGES, executor, 2000, 60, time.time)
        stored, refused, _ = asyncio.run(writer.store(outcomes))
    return stored.get(plugin, []), refused


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def levels(engine: Engine) -> list[float]:
    with engine.connect() as connection:
        return [row.level for row in connection.execute(text("SELECT level FROM levels ORDER BY level"))]


@pytest.mark.parametrize("value", [{"a": 1}, [1.0], None])
@pytest.mark.parametrize("plugin", ["careless", "swallowing"])
def test_only_the_row_with_a_value_of_the_wrong_type_is_rejected(
    engine: Engine, plugin: str, value: object
) -> None:
    stored, refused = store(engine, plugin, [*map(float, range(5)), value, *map(float, range(5, 9))])
    assert [(each.outcome.record.offset, each.error.reason) for each in refused] == [
        (5, Reason.REFUSED_BY_DATABASE)
    ]
    assert len(stored) == 9
    assert levels(engine) == [float(n) for n in range(9)]


Run = Callable[..., None]
"""Executes statements as the administrator of a MariaDB server."""


@pytest.fixture
def run_as_admin(request: pytest.FixtureRequest, engine: Engine) -> Run | None:
    if engine.dialect.name != "mysql":
        return None
    run: Run = request.getfixturevalue("mariadb").run
    return run


def dropped(engine: Engine, _admin: Run | None) -> Callable[[], None]:
    run(engine, "ALTER TABLE levels RENAME TO elsewhere")
    return lambda: run(engine, "ALTER TABLE elsewhere RENAME TO levels")


def another_column(engine: Engine, _admin: Run | None) -> Callable[[], None]:
    run(engine, "ALTER TABLE levels RENAME COLUMN level TO height")
    return lambda: run(engine, "ALTER TABLE levels RENAME COLUMN height TO level")


def forbidden(engine: Engine, run_as_admin: Run | None) -> Callable[[], None]:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no privileges")
    tables = [table.name for table in TABLES if table is not Level.__table__]
    if run_as_admin:
        database, user = engine.url.database, f"{engine.url.username}@'%'"
        run_as_admin(
            f"REVOKE ALL ON {database}.* FROM {user}",
            *(f"GRANT ALL ON {database}.{table} TO {user}" for table in tables),
        )
        # Applies to new sessions only.
        engine.dispose()
        return lambda: run_as_admin(f"GRANT ALL ON {database}.levels TO {user}")
    name = f"writer_{uuid.uuid4().hex[:8]}"
    run(
        engine,
        f"CREATE ROLE {name}",
        f"GRANT ALL ON {', '.join(tables)} TO {name}",
    )
    # Applies to new sessions only.
    run(engine, f"ALTER ROLE {engine.url.username} IN DATABASE {engine.url.database} SET role TO {name}")
    engine.dispose()

    def repair() -> None:
        run(engine, "SET LOCAL ROLE NONE", f"GRANT ALL ON levels TO {name}")

    return repair


def read_only(engine: Engine, run_as_admin: Run | None) -> Callable[[], None]:
    if engine.dialect.name == "sqlite":
        run(engine, "PRAGMA query_only = ON")
        # Applies to this connection only.
        return engine.dispose
    if run_as_admin:
        run_as_admin("SET GLOBAL read_only = ON")
        return lambda: run_as_admin("SET GLOBAL read_only = OFF")
    name = f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only TO"
    run(engine, f"{name} on")
    engine.dispose()

    def repair() -> None:
        run(engine, "SET TRANSACTION READ WRITE", f"{name} off")
        engine.dispose()

    return repair


@pytest.mark.parametrize("plugin", PACKAGES)
@pytest.mark.parametrize("fault", [dropped, another_column, forbidden, read_only])
def test_an_error_that_affects_every_row_is_transient(
    engine: Engine,
    run_as_admin: Run | None,
    plugin: str,
    fault: Callable[[Engine, Run | None], Callable[[], None]],
) -> None:
    repair = fault(engine, run_as_admin)
    with pytest.raises(TransientError):
        store(engine, plugin, [1.0, 2.0])
    with pytest.raises(TransientError):
        store(engine, plugin, [1.0])
    repair()
    stored, refused = store(engine, plugin, [1.0, 2.0])
    assert (len(stored), refused) == (2, [])
    assert levels(engine) == [1.0, 2.0]
