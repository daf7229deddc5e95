"""The command `capacity`, and that its page shows the figures that were measured."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.engine import make_url

from benchmarks.capacity import (
    FILE,
    PAGE,
    SIZES,
    database_bytes,
    series,
    store_aggregates,
    store_readings,
    with_tables,
)
from sparkle_app.capacity.estimate import Fleet, Machine
from sparkle_app.capacity.figures import Figures, figures
from sparkle_app.capacity.table import table
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.migration import create_tables
from tests.support.processes import run_program
from tests.support.worker import PROJECT


def test_the_page_has_tables_of_the_measured_figures() -> None:
    measured = msgspec.json.decode(FILE.read_bytes(), type=Figures)
    assert measured == figures()
    page = PAGE.read_text("utf-8")
    assert with_tables(page, measured) == page, "run python -m benchmarks.capacity --page"
    assert page.count("\n| database, per day |") == len(SIZES)


def test_the_command_prints_a_table_and_json() -> None:
    command = [sys.executable, "-m", "faust", "-A", "sparkle_app", "capacity", "--hosts", "10000"]
    done = run_program(command, {"PATH": "", "SPARKLE_BROKER__PARTITIONS": "4"}, PROJECT)
    assert (done.returncode, done.stderr) == (0, "")
    heading, *rows = table(figures(), Fleet(10_000, 16, 300), Machine(partitions=4))
    lines = done.stdout.splitlines()
    assert lines[0] == "10000 hosts with 16 metrics every 300 s"
    assert lines[1].split() == heading[1:]
    assert [line.split("  ")[0] for line in lines[2:-1]] == [row[0] for row in rows]
    asked = json.loads(
        run_program([*command, "--interval", "60", "--days", "30", "--json"], {"PATH": ""}, PROJECT).stdout
    )
    assert asked["fleet"]["interval"] == 60
    found = asked["estimates"]["PostgreSQL"]
    assert found["readings_per_second"] == pytest.approx(10_000 * 16 / 60)
    assert found["database_bytes"] == pytest.approx(30 * found["database_bytes_per_day"])


def test_the_measured_sizes_are_those_of_the_present_tables(tmp_path: Path) -> None:
    """Of SQLite, which every machine has; `python -m benchmarks.capacity` measures them again."""
    file = tmp_path / "sizes.sqlite3"
    url = f"sqlite:///{file}"
    plugins = load_plugins(PROJECT / "plugins")
    engine = make_engine(make_url(url))
    create_tables(engine, plugins.branches)
    rows = []
    for store in (store_readings, store_aggregates):
        sizes = []
        # The first ones create the names of hosts and metrics.
        for turn in range(4):
            with engine.begin() as connection:
                store(plugins.by_name["Temperature"], connection, 1_795_000_020_000_000 + turn * 300_000_000)
            sizes.append(database_bytes(url, None))
        rows.append((sizes[-1] - sizes[0]) / (3 * len(series())))
    engine.dispose()
    expected = figures().databases["SQLite"]
    assert rows == pytest.approx([expected.reading_bytes, expected.aggregate_bytes], rel=0.15)
