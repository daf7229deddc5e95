"""Migrations of tables by role, errors in revisions, and databases that cannot roll DDL back."""

import logging
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import AggregatesTable, Base, ReadingsTable
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects.sqlite import Sqlite
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.migrations.branches import Branch, core_branch, plugin_branch
from sparkle_app.storage.migrations.migration import create_tables, migrate, migration_sql
from sparkle_app.storage.migrations.schema import OlderSchemaError, Revision, read_schema
from tests.support.migrating_plugin import write_plugin, write_revision

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "docs" / "plugins.md").read_text("utf-8")


class MigratedReadings(ReadingsTable):
    __tablename__ = "Migrated readings"


class MigratedAggregates(AggregatesTable):
    __tablename__ = "of_another_name"


ADD_BY_ROLE = """
    from sparkle_app.storage.migrations.roles import aggregates_tables, readings_tables
    for table in readings_tables():
        op.add_column(table.name, Column("added", String(20)), schema=table.schema)
    for table in aggregates_tables():
        op.add_column(table.name, Column("more", String(20)), schema=table.schema)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/x.sqlite3"))
    yield engine
    engine.dispose()


@pytest.fixture
def core(tmp_path: Path) -> Callable[..., Branch]:
    """A function that returns the handler's branch as if it had further revisions."""

    def later(*upgrades: str) -> Branch:
        folder = tmp_path / f"versions{len(upgrades)}"
        for number, upgrade in enumerate(("pass", *upgrades), 1):
            write_revision(folder, number, upgrade, prefix="")
        return core_branch(folder)

    return later


def applied(
    engine: Engine, branches: Sequence[Branch], errors: Sequence[ConfigurationError] = ()
) -> list[str]:
    """The revisions that a migration applies."""
    reported: list[Revision] = []
    migrate(engine, branches, errors, reported.append)
    return [each.id for each in reported]


def columns(engine: Engine, table: str) -> set[str]:
    return {each["name"] for each in inspect(engine).get_columns(table)}


def recorded(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT version_num FROM sparkle_schema ORDER BY 1")).scalars())


def test_revisions_change_the_tables_of_all_plugins_by_role(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    create_tables(engine, [core()])
    branch = core(ADD_BY_ROLE)
    with pytest.raises(OlderSchemaError, match="at schema revision 0002, found 0001; run `faust"):
        create_tables(engine, [branch])
    assert applied(engine, [branch]) == ["0002"]
    for mapper in Base.registry.mappers:
        expected = {ReadingsTable: {"added"}, AggregatesTable: {"more"}}
        for role, added in expected.items():
            if issubclass(mapper.class_, role):
                table = data_table(mapper.class_.__table__)
                assert columns(engine, table.name) == set(table.c.keys()) | added, table.name
    assert recorded(engine) == ["0002"]
    assert applied(engine, [branch]) == []
    create_tables(engine, [branch])


def test_tables_that_do_not_exist_are_created_from_the_models(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    create_tables(engine, [core()])
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE of_another_name_data"))
    branch = core(ADD_BY_ROLE)
    assert applied(engine, [branch]) == ["0002"]
    assert columns(engine, "of_another_name_data") == set(data_table(MigratedAggregates.__table__).c.keys())


def test_the_sql_changes_the_same_tables(engine: Engine, core: Callable[..., Branch], tmp_path: Path) -> None:
    other = make_engine(make_url(f"sqlite:///{tmp_path}/other.sqlite3"))
    for each in (engine, other):
        create_tables(each, [core()])
    branch = core(ADD_BY_ROLE, """op.execute(text("UPDATE of_another_name_data SET more = 'a%%b:c'"))""")
    with read_transaction(other) as connection:
        schema = read_schema(connection, [branch])
    driver = other.raw_connection()
    driver.cursor().executescript(migration_sql(schema, []))
    driver.close()
    migrate(engine, [branch], [], lambda _: None)
    names = inspect(engine).get_table_names()
    assert [columns(engine, name) for name in names] == [columns(other, name) for name in names]
    assert recorded(other) == recorded(engine) == ["0003"]
    other.dispose()


def test_a_table_that_a_revision_creates_is_not_created_again(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    create_tables(engine, [core()])
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE of_another_name_data"))
    branch = core("op.create_table('of_another_name_data', Column('old', String(20)))")
    with read_transaction(engine) as connection:
        script = migration_sql(read_schema(connection, [branch]), [])
    assert script.count("CREATE TABLE") == 1
    assert applied(engine, [branch]) == ["0002"]
    assert columns(engine, "of_another_name_data") == {"old"}


def test_a_revision_that_reads_rows_is_not_printed_as_sql(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    create_tables(engine, [core()])
    branch = core("op.get_bind().execute(text('SELECT 1')).scalar()")
    with read_transaction(engine) as connection:
        schema = read_schema(connection, [branch])
    with pytest.raises(
        ConfigurationError, match=r"revision 0002: expected .*; run the command without --sql"
    ):
        migration_sql(schema, [])
    assert applied(engine, [branch]) == ["0002"]


def test_a_plugin_that_cannot_be_loaded_prevents_a_migration_of_all_tables(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    error = ConfigurationError("plugin X", expected="a package", found="SyntaxError", hint="repair it")
    create_tables(engine, [core()])
    assert applied(engine, [core()], [error]) == []
    with pytest.raises(ConfigurationError, match="plugin X: expected a package, since a migration changes"):
        applied(engine, [core(ADD_BY_ROLE)], [error])
    assert recorded(engine) == ["0001"]


def test_without_transactional_ddl_the_revisions_before_the_failed_one_are_kept(
    engine: Engine, core: Callable[..., Branch], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tables(engine, [core()])
    monkeypatch.setattr(Sqlite, "transactional_ddl", False)
    branch = core(ADD_BY_ROLE, "op.execute('INSERT INTO nowhere VALUES (1)')")
    with pytest.raises(ConfigurationError, match=r"revision 0003: .*applied in part.*restore the backup"):
        applied(engine, [branch])
    assert recorded(engine) == ["0002"]
    assert "more" in columns(engine, "of_another_name_data")


def test_threads_that_migrate_at_once_apply_each_revision_once(
    engine: Engine, core: Callable[..., Branch]
) -> None:
    create_tables(engine, [core()])
    branch = core(ADD_BY_ROLE)
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(applied(engine, [branch])))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(counts) == [0, 0, 1]


@pytest.mark.parametrize(
    ("number", "prefix", "found"),
    [
        (3, "fan_speed_", "Revision fan_speed_0002 referenced from"),
        (1, "fan_speed_", "is present more than once"),
        (1, "other_", "ValueError: 2 revisions that none follows, 2 that follow none"),
        (1, "", "ValueError: 2 revisions that none follows, 2 that follow none"),
    ],
)
def test_revisions_that_are_not_one_line_are_a_fault_of_the_plugin(
    tmp_path: Path, number: int, prefix: str, found: str
) -> None:
    revisions = write_plugin(tmp_path, 1)
    other = tmp_path / "other"
    write_revision(other, number, "pass", prefix)
    (other / f"{number:04}.py").rename(revisions / "added.py")
    with pytest.raises(ConfigurationError) as caught:
        plugin_branch("Fan_Speed", revisions.parent)
    assert caught.value.where == f"plugin Fan_Speed ({revisions})"
    assert found in caught.value.found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("revision = '0001'\ndown_revision = None", "0001"),
        ("import nowhere", "No module named 'nowhere'"),
        ("", "0 "),
    ],
)
def test_an_invalid_revision_is_a_fault_of_the_plugin(tmp_path: Path, content: str, found: str) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    revisions = write_plugin(plugins, 1)
    (revisions / "0001.py").write_text(content) if content else (revisions / "0001.py").unlink()
    loaded = load_plugins(plugins)
    assert loaded.installed == {}
    (error,) = loaded.errors
    assert error.where == f"plugin Fan_Speed ({revisions})"
    assert found in error.found


def test_a_base_without_the_privilege_to_record_it_is_recognised(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        # Stands for a missing privilege, which SQLite does not know.
        connection.execute(text("CREATE INDEX sparkle_schema ON of_another_name_data (count)"))
    with caplog.at_level(logging.WARNING):
        create_tables(engine, [core_branch()])
    assert "cannot record the schema's revision in sparkle_schema: there is already an index" in caplog.text


def test_the_revisions_in_the_guide_work(tmp_path: Path, engine: Engine) -> None:
    files = dict(re.findall(r"`(000\d_\w+\.py)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL))
    revisions = write_plugin(tmp_path, 1)
    for file in revisions.iterdir():
        file.unlink()
    for name, content in files.items():
        (revisions / name).write_text(content)
    branch = plugin_branch("Fan_Speed", revisions.parent)
    assert branch
    assert [each.revision for each in branch.revisions] == ["fan_speed_0001", "fan_speed_0002"]
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE fan_speed_readings_data (value FLOAT)"))
        connection.execute(text("CREATE TABLE sparkle_schema (version_num VARCHAR)"))
        connection.execute(text("INSERT INTO sparkle_schema VALUES ('fan_speed_0001')"))
    assert applied(engine, [branch]) == ["fan_speed_0002"]
    assert columns(engine, "fan_speed_readings_data") == {"value", "maker"}


def test_two_plugins_with_the_same_ids_of_revisions(tmp_path: Path) -> None:
    revisions = write_plugin(tmp_path, 1)
    copy = tmp_path / "fans"
    shutil.copytree(revisions.parent, copy)
    (copy / "manifest.py").write_text((copy / "manifest.py").read_text().replace("Fan_Speed", "Fans"))
    server = (copy / "server.py").read_text()
    (copy / "server.py").write_text(server.replace('"fan_speed_', '"fans_'))
    code = (
        "import sys; from pathlib import Path; from sparkle_app.plugin.discovery import load_plugins\n"
        "found = load_plugins(Path(sys.argv[1])); print(list(found.installed), *found.errors)"
    )
    # In a process of its own: an imported package, and its tables, stay.
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.stdout == (
        f"['Fan_Speed'] plugin Fans ({copy}): expected ids of revisions that no other plugin has, found fan_speed_0001,"
        f" as in plugin Fan_Speed ({revisions.parent}); rename the revisions of this plugin\n"
    )
