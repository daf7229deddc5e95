"""The options of the command `move`, and its errors."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.storage.engine import make_engine
from tests.support.database import count
from tests.support.earlier_packages import install
from tests.support.moving import NOON, NOWHERE, fill, move
from tests.support.processes import free_port
from tests.support.worker import PROJECT, Workspace, faust, run_command


def test_a_dry_run_changes_nothing(workspace: Workspace, source: str, tmp_path: Path) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    target = tmp_path / "folder" / "target.sqlite3"
    text = move(environment, f"sqlite:///{target}", "--dry-run")
    assert text.splitlines() == [
        "Temperature: 2 aggregates to copy",
        "PU_Workload: 0 readings to copy",
        "Temperature: 70 readings to copy",
        "sparkle_hosts: 1 row to copy",
        "not copied: notes, of which no installed plugin declares the columns",
    ]
    assert not target.parent.exists()
    report = json.loads(move(environment, f"sqlite:///{target}", "--dry-run", "--json"))
    assert (report["copied"], report["not_copied"]) == (False, ["notes"])
    assert report["parts"][2] == {"name": "Temperature", "what": "readings", "rows": 70}
    assert not target.parent.exists()


def test_a_plugin_without_tables_is_no_obstacle(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    # Just installed, and one that has lost a table.
    install(workspace.plugins, workspace.topic)
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("DROP TABLE pu_workload_aggregates_data")
    text = move(environment, target)
    assert "Temperature: 70 readings read, 70 new or changed, 0 known\n" in text
    assert "Fans" not in text
    assert "PU_Workload: 0 readings read" in text


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_error_names_the_database_that_reports_it(
    workspace: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    assert run_command(workspace.environment(NOWHERE, database_url), "migrate").returncode == 0
    engine = make_engine(make_url(database_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE sparkle_hosts DROP COLUMN interval_seconds")
    engine.dispose()
    refused = run_command(environment, "move", "--to", database_url)
    assert refused.returncode == 1
    assert f"database: expected {database_url} to execute the statement" in refused.stderr
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("ALTER TABLE sparkle_hosts DROP COLUMN removed_at")
    refused = run_command(environment, "move", "--to", f"sqlite:///{tmp_path / 'other'}")
    assert refused.returncode == 1
    assert f"database: expected {source} to execute the statement" in refused.stderr


def test_the_url_can_be_read_from_standard_input(workspace: Workspace, source: str, tmp_path: Path) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])
    done = subprocess.run(
        faust("move", "--to", "-"),
        input=f"sqlite:///{tmp_path / 'target.sqlite3'}\n",
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count(f"sqlite:///{tmp_path / 'target.sqlite3'}", "temperature_readings") == 1


def test_wrong_usage_is_one_line_without_the_password(
    workspace: Workspace, source: str, tmp_path: Path
) -> None:
    missing = workspace.environment(NOWHERE, source)
    assert "expected a database at" in move(missing, f"sqlite:///{tmp_path / 'x'}", code=2)
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])
    for target, code, expected in (
        (source, 2, "--to: expected another database, found sqlite:////"),
        (
            "db2://a:secret@b/c",
            2,
            "--to: expected a SQLAlchemy dialect for db2://… to be installed, found none",
        ),
        ("nonsense", 2, "--to: expected a SQLAlchemy URL"),
        (
            f"postgresql://sparkle:secret@127.0.0.1:{free_port()}/x",
            1,
            "--to: expected a response from postgresql",
        ),
    ):
        done = run_command(environment, "move", "--to", target)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(expected)
        assert done.stderr.count("\n") == 1
        assert "secret" not in done.stderr
    newer = f"sqlite:///{tmp_path / 'newer.sqlite3'}"
    with closing(sqlite3.connect(tmp_path / "newer.sqlite3")) as connection:
        connection.execute("CREATE TABLE sparkle_schema (version_num VARCHAR(255) PRIMARY KEY)")
        connection.execute("INSERT INTO sparkle_schema VALUES ('9999')")
        connection.commit()
    for options in ([], ["--dry-run"]):
        refused = move(environment, newer, *options, code=2)
        assert refused.startswith("--to: expected sqlite:////")
        assert "found 9999" in refused
    (workspace.plugins / "broken").mkdir()
    (workspace.plugins / "broken" / "__init__.py").write_text(
        'from .manifest import *\nraise OSError("no")\n'
    )
    (workspace.plugins / "broken" / "manifest.py").write_text(
        f'NAME = "Broken"\nVERSION = "1"\nAUTHOR = "x"\nTOPIC = "{workspace.topic}"\n'
    )
    broken = run_command(environment, "move", "--to", f"sqlite:///{tmp_path / 'y.sqlite3'}")
    assert broken.returncode == 1
    assert broken.stderr.startswith("plugin Broken")
    assert not (tmp_path / "y.sqlite3").exists()
