"""The tables behind the views of models: own columns, names, revisions and lost views."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, String, inspect, select, text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.schema import CreateIndex

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable, data_table
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables, migrate
from sparkle_app.storage.models import own_columns, tables_of
from tests.support.migrating_plugin import write_revision

AT = 1_795_435_200_000_000


class Named:
    """A mixin, as packages use to name their tables."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return f"compact_{getattr(cls, '__name__', '').lower()}"


class Rack(Named, ReadingsTable):
    # Columns of the other kind of table.
    count: Mapped[int | None] = mapped_column()
    bucket_start: Mapped[str | None] = mapped_column(String(20))
    shelf: Mapped[str | None] = mapped_column(String(20), index=True)
    room: Mapped[str | None] = mapped_column(String(20), unique=True)


class RackAggregates(AggregatesTable):
    __tablename__ = "compact_rack_aggregates"

    topic: Mapped[str | None] = mapped_column(String(20))


class LongName(ReadingsTable):
    __tablename__ = "readings_of_a_sensor_with_a_rather_long_name_in_package"


class RackPlugin(Plugin):
    DataFrame = Rack
    Aggregates = RackAggregates


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/x.sqlite3"))
    yield engine
    engine.dispose()


def reading(number: int) -> Reading:
    return Reading(number.to_bytes(16), 1, "host", "Rack", "k", 1.5, AT, AT, True, "t", 0, number)


def columns(engine: Engine, name: str) -> set[str]:
    return {each["name"] for each in inspect(engine).get_columns(name)}


def test_columns_of_a_plugin_are_stored_and_shown(engine: Engine) -> None:
    Base.metadata.create_all(engine, tables=tables_of(Rack, RackAggregates))
    with engine.begin() as connection:
        RackPlugin().store_readings(connection, [reading(1)])
        data = data_table(Rack.__table__)
        connection.execute(data.update().values(count=7, bucket_start="b7", shelf="s7"))
        view = Rack.__table__.c
        (row,) = connection.execute(select(view.hostname, view.count, view.bucket_start, view.shelf))
    assert tuple(row) == ("host", 7, "b7", "s7")
    assert {"topic", "bucket"} <= columns(engine, "compact_rack_aggregates_data")
    indexes = {tuple(each["column_names"]): each["unique"] for each in inspect(engine).get_indexes(data.name)}
    assert indexes == {("series_id", "observed_at"): 0, ("shelf",): 0}
    unique = inspect(engine).get_unique_constraints(data.name)
    assert [each["column_names"] for each in unique] == [["room"]]


def test_own_columns_are_those_that_a_base_does_not_have() -> None:
    assert own_columns(Rack.__table__) == ["count", "bucket_start", "shelf", "room"]
    assert own_columns(RackAggregates.__table__) == ["topic"]


def test_a_column_that_the_tables_have_themselves_is_refused() -> None:
    with pytest.raises(ValueError, match="expected other names of columns in taken_readings than series_id"):
        type(
            "Taken",
            (ReadingsTable,),
            {"__tablename__": "taken_readings", "series_id": mapped_column(String(9))},
        )


def test_names_of_indexes_fit_into_every_database() -> None:
    (index,) = data_table(LongName.__table__).indexes
    for dialect in (postgresql.dialect(), mysql.dialect()):  # type: ignore[no-untyped-call]
        # Raises an error if the name is too long.
        assert "(series_id, observed_at)" in str(CreateIndex(index).compile(dialect=dialect))


def test_a_view_that_is_lost_is_created_again(engine: Engine) -> None:
    create_tables(engine, [core_branch()])
    with engine.begin() as connection:
        RackPlugin().store_readings(connection, [reading(1)])
        # As an interrupted migration leaves it where DDL cannot be rolled back.
        connection.execute(text("DROP VIEW compact_rack"))
    create_tables(engine, [core_branch()])
    with engine.begin() as connection:
        assert connection.execute(text("SELECT hostname FROM compact_rack")).scalars().all() == ["host"]


def test_a_column_that_no_model_declares_is_not_dropped(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE compact_rack (id CHAR(32) PRIMARY KEY, undeclared INTEGER)"))
    with pytest.raises(
        ConfigurationError, match="expected the columns that its plugin declares, found also undec"
    ):
        migrate(engine, [core_branch()], [], lambda _: None)
    assert columns(engine, "compact_rack") == {"id", "undeclared"}


def test_a_revision_may_alter_what_a_view_shows(engine: Engine, tmp_path: Path) -> None:
    write_revision(tmp_path / "versions", 1, "pass", prefix="")
    create_tables(engine, [core_branch(tmp_path / "versions")])
    alter = """
        with op.batch_alter_table("compact_rack_data") as batch:
            batch.alter_column("shelf", type_=String(40))
    """
    write_revision(tmp_path / "later", 1, "pass", prefix="")
    write_revision(tmp_path / "later", 2, "pass", prefix="")
    write_revision(tmp_path / "later", 3, alter, prefix="")
    migrate(engine, [core_branch(tmp_path / "later")], [], lambda _: None)
    found = {each["name"]: str(each["type"]) for each in inspect(engine).get_columns("compact_rack_data")}
    assert found["shelf"] == "VARCHAR(40)"
    assert "shelf" in columns(engine, "compact_rack")
