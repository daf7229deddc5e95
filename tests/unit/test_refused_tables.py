"""A package whose tables cannot be created is refused by name, and leaves nothing behind; the others are used."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run_program
from tests.support.worker import PROJECT

# In a process of its own: an imported package, and its tables, stay.
LOAD = """
import json, sys
from pathlib import Path
from sqlalchemy.engine import make_url
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Base
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.migration import create_tables

url = make_url(sys.argv[2])
plugins = load_plugins(Path(sys.argv[1]), url)
if url.get_backend_name() == "sqlite":
    create_tables(make_engine(url), plugins.branches)
tables = sorted(name for name in Base.metadata.tables if not name.startswith("sparkle_"))
print(json.dumps({"installed": list(plugins.installed), "errors": list(map(str, plugins.errors)), "tables": tables}))
"""
SERVER = """
from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import mapped_column
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, ReadingsTable

class Readings(ReadingsTable):
    __tablename__ = "{name}_readings"

class Aggregates(AggregatesTable):
    __tablename__ = "{name}_aggregates"

class Notes(Base):
    __tablename__ = "{name}_notes"
    id = mapped_column(Integer, primary_key=True)
    {column}

class Own(Plugin):
    DataFrame, Aggregates = Readings, Aggregates
    {body}

plugin = Own()
{last}
"""
POSTGRESQL, MYSQL, ORACLE = (
    f"{driver}://localhost/x" for driver in ("postgresql+psycopg2", "mysql+pymysql", "oracle+oracledb")
)


def package(folder: Path, name: str, column: str = "", body: str = "", last: str = "") -> None:
    (folder / name).mkdir()
    (folder / name / "manifest.py").write_text(f'NAME, VERSION, AUTHOR = "{name}", "1", "me"')
    (folder / name / "__init__.py").write_text("from .server import plugin")
    (folder / name / "server.py").write_text(SERVER.format(name=name, column=column, body=body, last=last))


def tables(*names: str) -> list[str]:
    return sorted(
        f"{name}_{kind}" for name in names for kind in ("readings_data", "aggregates_data", "notes")
    )


def load(folder: Path, url: str | None = None) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")}
    command = [sys.executable, "-c", LOAD, str(folder), url or f"sqlite:///{folder}/x.sqlite3"]
    done = run_program(command, environment, PROJECT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("column", "url", "found"),
    [
        ('maker = mapped_column(ForeignKey("fan_maker.id"))', None, "could not find table 'fan_maker'"),
        ('maker = mapped_column(ForeignKey("fine_notes.nr"))', None, "fine_notes"),
        ("data = mapped_column(INET)", None, "can't render element of type INET"),
        ("data = mapped_column(ARRAY(Integer))", None, "can't render element of type ARRAY"),
        ("data = mapped_column(INET)", MYSQL, "can't render element of type INET"),
        ("maker = mapped_column(ForeignKey('zzz_readings.id'))", None, "zzz_readings.id, a view"),
    ],
)
def test_only_the_package_whose_table_cannot_be_created_is_refused(
    tmp_path: Path, column: str, url: str | None, found: str
) -> None:
    for name in ("aaa", "fine", "zzz"):
        package(tmp_path, name)
    package(tmp_path, "faulty", column)
    loaded = load(tmp_path, url)
    assert loaded["installed"] == ["aaa", "fine", "zzz"]
    (error,) = loaded["errors"]
    assert error.startswith(f"plugin faulty ({tmp_path}/faulty): expected ")
    assert found in error
    assert "sqlalche.me" not in error
    assert loaded["tables"] == tables("aaa", "fine", "zzz")


@pytest.mark.parametrize(
    ("column", "url"),
    [
        ("data = mapped_column(INET)", POSTGRESQL),
        ("text = mapped_column(String)", POSTGRESQL),
        ("text = mapped_column(String)", MYSQL),
        ("text = mapped_column(String)", ORACLE),
    ],
)
def test_what_the_database_has_is_used(tmp_path: Path, column: str, url: str) -> None:
    package(tmp_path, "fine", column)
    assert load(tmp_path, url) == {"installed": ["fine"], "errors": [], "tables": tables("fine")}


@pytest.mark.parametrize(("first", "second"), [("aaa", "zzz"), ("zzz", "aaa")])
def test_a_key_to_the_table_of_another_package_is_created_if_the_other_is_loaded(
    tmp_path: Path, first: str, second: str
) -> None:
    package(tmp_path, first, f'other = mapped_column(ForeignKey("{second}_notes.id"))')
    package(tmp_path, second)
    assert load(tmp_path) == {"installed": ["aaa", "zzz"], "errors": [], "tables": tables("aaa", "zzz")}


@pytest.mark.parametrize("column", ["data = mapped_column(INET)", "1 / 0"])
@pytest.mark.parametrize(("first", "second"), [("aaa", "zzz"), ("zzz", "aaa")])
def test_what_refers_to_a_refused_package_is_refused_as_well(
    tmp_path: Path, first: str, second: str, column: str
) -> None:
    package(tmp_path, "fine")
    package(tmp_path, first, f'other = mapped_column(ForeignKey("{second}_notes.id"))')
    package(tmp_path, second, column)
    loaded = load(tmp_path)
    assert (loaded["installed"], loaded["tables"]) == (["fine"], tables("fine"))
    refused = [error.partition(" (")[0] for error in loaded["errors"]]
    assert refused == [f"plugin {second}", f"plugin {first}"]


@pytest.mark.parametrize(
    ("body", "last"),
    [("", "1 / 0"), ("", "raise SystemExit"), ("minimum = None", ""), ("", "plugin = 1"), ("unit = []", "")],
)
def test_a_package_that_is_refused_leaves_no_tables(tmp_path: Path, body: str, last: str) -> None:
    package(tmp_path, "faulty", 'gone = mapped_column(ForeignKey("nowhere.id"))', body, last)
    package(tmp_path, "fine")
    loaded = load(tmp_path)
    assert len(loaded["errors"]) == 1
    assert (loaded["installed"], loaded["tables"]) == (["fine"], tables("fine"))


def test_a_refused_package_does_not_take_the_tables_of_one_that_it_imports(tmp_path: Path) -> None:
    package(tmp_path, "aaa", last="from plugins.zzz.server import Notes as Others; 1 / 0")
    package(tmp_path, "zzz")
    loaded = load(tmp_path)
    assert len(loaded["errors"]) == 1
    assert (loaded["installed"], loaded["tables"]) == (["zzz"], tables("zzz"))


EARLIER = """
import sparkleM_core
from sqlalchemy import Column, Float

class DataFrame(sparkleM_core.SqlAlchemyBase, sparkleM_core.BaseDataFrame):
    __tablename__ = "earlier"
    value = Column(Float)

def add_dataframe(dt, hostname, key, value, session): ...
"""


@pytest.mark.parametrize(("url", "longest"), [(POSTGRESQL, 63), (MYSQL, 64), (None, 76)])
def test_tables_of_an_earlier_package_with_a_long_name_have_names_that_the_database_allows(
    tmp_path: Path, url: str | None, longest: int
) -> None:
    (tmp_path / "earlier").mkdir()
    name = "N" * 60
    (tmp_path / "earlier" / "__init__.py").write_text(
        f'from . import server\nfrom .server import DataFrame\nNAME = "{name}"\nVERSION = AUTHOR = "1"'
    )
    (tmp_path / "earlier" / "server.py").write_text(EARLIER)
    loaded = load(tmp_path, url)
    assert (loaded["installed"], loaded["errors"]) == ([name], [])
    assert max(map(len, loaded["tables"])) == longest


def test_a_name_that_the_database_cannot_have_is_refused(tmp_path: Path) -> None:
    name = "n" * 49
    package(tmp_path, name)
    loaded = load(tmp_path, POSTGRESQL)
    (error,) = loaded["errors"]
    assert (
        f"expected names of tables with at most 63 characters, found {name}_aggregates_data; shorten" in error
    )
    assert loaded["tables"] == []
    assert load(tmp_path, MYSQL)["installed"] == []
    assert load(tmp_path)["installed"] == [name]
