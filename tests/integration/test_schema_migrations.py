"""`migrate`, and what the other commands say of an earlier or a later schema, on SQLite and PostgreSQL."""

import json
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.storage.migrations.branches import core_branch
from tests.support.database import count, query
from tests.support.installation import OLDER, SHIPPED, Installation, copy, dropped, older
from tests.support.migrating_plugin import TABLES, write_plugin, write_revision
from tests.support.schemas import baseline, tables

pytestmark = pytest.mark.any_broker


AGGREGATES = """
    INSERT INTO temperature_aggregates VALUES
        ('host-0', 'k0', 60, '2026-11-23 12:00:00.000000', 2, 3.5, 1, 2.5, 2.5, '2026-11-23 12:00:59.123456'),
        ('host-1', 'k0', 3600, '2026-11-23 12:00:00.000000', 1, 1, 1, 1, 1, '2026-11-23 12:00:00.000000');
"""


def test_an_empty_database_gets_the_tables_of_the_models(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 2)
    plan = installation.migrate("--dry-run")
    assert plan.splitlines() == [f"would create {name}" for name in sorted((*SHIPPED, *TABLES))]
    assert tables(installation.url) == {}
    done = installation.migrate()
    assert f"created {', '.join(sorted((*SHIPPED, *TABLES)))}; schema revision 0005, fan_speed_0002" in done
    assert installation.revisions() == ["0005", "fan_speed_0002"]
    before = tables(installation.url)
    assert "nothing to do; schema revision 0005, fan_speed_0002" in installation.migrate()
    assert installation.migrate("--sql") == "-- nothing to do\n"
    assert tables(installation.url) == before


def test_the_sql_for_an_empty_database_gives_the_same_schema(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 2)
    script = installation.migrate("--sql")
    assert tables(installation.url) == {}
    installation.script(script)
    by_client, revisions = tables(installation.url), installation.revisions()
    assert "nothing to do" in installation.migrate()
    installation.script(dropped(by_client, installation.url))
    installation.migrate()
    assert (tables(installation.url), installation.revisions()) == (by_client, revisions)


def test_a_database_of_a_version_without_migrations_is_compacted(
    installation: Installation,
) -> None:
    installation.script(baseline(installation.url))
    installation.add_wide_readings("temperature_readings", 30)
    installation.script(AGGREGATES)
    shown = {
        name: query(installation.url, f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4")
        for name in ("temperature_readings", "temperature_aggregates")
    }
    for command in ("verify", "rebuild"):
        assert "found 0001; run `faust -A sparkle_app migrate`" in installation.run(command).stderr
    assert installation.migrate("--dry-run").startswith("would apply 0002: Numbers in place of names.\n")
    migrated = [installation]
    if installation.server:
        migrated.append(other := copy(installation))
        script = other.migrate("--sql")
        assert script.splitlines()[-1].startswith(
            "-- not added to sparkle_hosts: hosts that have sent readings;"
        )
        other.script(script)
        installation.migrate()
        assert query(other.url, "SELECT count(*) AS n FROM sparkle_hosts")[0]["n"] == 0
        assert other.migrate().endswith("nothing to do; schema revision 0005\n")
    else:
        refused = installation.run("migrate", "--sql")
        assert refused.stderr.endswith("; run the command without --sql\n"), refused.stderr
        installation.migrate()
    # Hosts that have never sent a reading to this version; a script cannot add them.
    hosts = query(installation.url, "SELECT name, plugin FROM sparkle_hosts ORDER BY 1")
    assert hosts == [{"name": f"host-{number}", "plugin": "Temperature"} for number in range(7)]
    for each in migrated:
        assert each.revisions() == ["0005"]
        assert sorted(tables(each.url)) == sorted((*SHIPPED, "sparkle_schema"))
        for name, rows in shown.items():
            found = query(each.url, f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4")
            known = set(rows[0])
            assert [{column: row[column] for column in row if column in known} for row in found] == rows
        rebuilt = each.run("rebuild", "--json")
        assert [line["readings"] for line in json.loads(rebuilt.stdout)] == [0, 30], rebuilt.stderr
        verified = each.run("verify", "--json")
        assert [line["differences"] for line in json.loads(verified.stdout)] == [[], []], verified.stderr
        assert [line["aggregates"] for line in json.loads(verified.stdout)] == [0, 21]


def test_a_plugin_that_returns_after_the_tables_were_compacted_is_compacted(
    installation: Installation,
) -> None:
    write_plugin(installation.workspace.plugins, 1)
    plugin = installation.workspace.plugins / "fan_speed"
    plugin.rename(installation.workspace.folder / "fan_speed")
    installation.script(baseline(installation.url).replace("pu_workload", "fan_speed"))
    installation.add_wide_readings(TABLES[0].removesuffix("_data"), 5)
    installation.migrate()
    (installation.workspace.folder / "fan_speed").rename(plugin)
    # Nothing is pending, but the rows are still in the wide tables.
    assert "which were not migrated: fan_speed_aggregates, fan_speed_readings; run" in installation.check()
    installation.environment["SPARKLE_DATABASE__MIGRATE"] = "true"
    assert "will migrate it: tables fan_speed_aggregates, fan_speed_readings" in installation.check()
    del installation.environment["SPARKLE_DATABASE__MIGRATE"]
    write_plugin(installation.workspace.plugins, 2)
    assert "; run `faust -A sparkle_app migrate`" in installation.check()
    moved = sorted(name.removesuffix("_data") for name in TABLES)
    planned = installation.migrate("--dry-run")
    assert planned.splitlines()[-2:] == [f"would move the rows of {name}" for name in moved]
    assert json.loads(installation.migrate("--dry-run", "--json"))["moved"] == moved
    applying, done = installation.migrate().splitlines()
    assert applying.startswith("applying fan_speed_0002")
    assert f"; moved the rows of {', '.join(moved)}; schema" in done
    rows = query(installation.url, "SELECT hostname, value, maker FROM fan_speed_readings ORDER BY value")
    assert [tuple(row.values()) for row in rows] == [(f"host-{n}", float(n), "unknown") for n in range(5)]
    assert installation.migrate().endswith("nothing to do; schema revision 0005, fan_speed_0002\n")


def test_an_older_schema_is_migrated_with_its_rows(installation: Installation) -> None:
    older(installation)
    assert installation.migrate("--dry-run") == "would apply fan_speed_0002 of plugin Fan_Speed: Step 2.\n"
    plan = json.loads(installation.migrate("--dry-run", "--json"))
    assert plan == {
        "applied": False,
        "schema": [
            {"plugin": None, "found": "0005", "expected": "0005"},
            {"plugin": "Fan_Speed", "found": "fan_speed_0001", "expected": "fan_speed_0002"},
        ],
        "revisions": [{"revision": "fan_speed_0002", "plugin": "Fan_Speed", "description": "Step 2."}],
        "created": [],
        "moved": [],
    }
    other = copy(installation)
    other.script(other.migrate("--sql"))
    applying, done = installation.migrate().splitlines()
    assert applying == "applying fan_speed_0002 of plugin Fan_Speed: Step 2."
    assert done.endswith(": 1 revision applied; schema revision 0005, fan_speed_0002")
    rows = query(installation.url, "SELECT value, maker FROM fan_speed_readings ORDER BY value")
    assert [tuple(row.values()) for row in rows] == [(0.0, "unknown"), (1.0, "unknown"), (2.0, "unknown")]
    assert tables(other.url) == tables(installation.url)
    assert other.revisions() == installation.revisions() == ["0005", "fan_speed_0002"]
    assert query(other.url, "SELECT * FROM fan_speed_readings ORDER BY value") == query(
        installation.url, "SELECT * FROM fan_speed_readings ORDER BY value"
    )


def test_commands_refuse_an_older_schema(installation: Installation) -> None:
    older(installation)
    line = installation.check()
    assert line.startswith("ERROR database: database.url: expected ")
    assert line.endswith(f" at schema revision fan_speed_0002 of plugin Fan_Speed, {OLDER}")
    for command in ("verify", "rebuild", "hosts"):
        refused = installation.run(command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == line.removeprefix("ERROR database: ") + "\n"
    installation.environment["SPARKLE_DATABASE__MIGRATE"] = "true"
    assert installation.check().endswith("; the first worker will migrate it: fan_speed_0002")
    installation.migrate()
    assert installation.run("rebuild").returncode == 0


def test_a_newer_schema_is_refused(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 1)
    installation.migrate()
    for known, newer, hint in (
        ("0005", "9999", "install the version of the handler that migrated the database"),
        (
            "fan_speed_0001",
            "fan_speed_9999",
            "install the version of plugin Fan_Speed that migrated the database",
        ),
    ):
        installation.script(
            f"UPDATE sparkle_schema SET version_num = '{newer}' WHERE version_num = '{known}';"
        )
        for command in ("check", "migrate", "verify", "rebuild", "worker"):
            refused = installation.run(command)
            assert refused.returncode == 1, command
            lines = [line for line in (refused.stdout + refused.stderr).splitlines() if hint in line]
            assert len(lines) == 1, (refused.stdout, refused.stderr)
            assert f"an earlier one, found {newer}; " in lines[0]
            assert "Traceback" not in refused.stderr
        installation.script(
            f"UPDATE sparkle_schema SET version_num = '{known}' WHERE version_num = '{newer}';"
        )


def test_revisions_of_a_plugin_that_is_not_installed_are_left_alone(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 2)
    installation.migrate()
    plugin = installation.workspace.plugins / "fan_speed"
    plugin.rename(installation.workspace.folder / "fan_speed")
    assert "nothing to do; schema revision 0005\n" in installation.migrate()
    assert installation.revisions() == ["0005", "fan_speed_0002"]
    (installation.workspace.folder / "fan_speed").rename(plugin)
    assert "nothing to do; schema revision 0005, fan_speed_0002" in installation.migrate()


def test_a_plugin_that_ships_revisions_for_the_first_time_is_at_its_first(installation: Installation) -> None:
    write_plugin(installation.workspace.plugins, 1)
    revisions = installation.workspace.plugins / "fan_speed" / "migrations"
    revisions.rename(installation.workspace.folder / "later")
    installation.migrate()
    installation.add_readings(TABLES[0], 1)
    assert installation.revisions() == ["0005"]
    write_plugin(installation.workspace.plugins, 2)
    assert "1 revision applied" in installation.migrate()
    assert installation.revisions() == ["0005", "fan_speed_0002"]
    assert query(installation.url, "SELECT maker FROM fan_speed_readings") == [{"maker": "unknown"}]


def test_a_revision_that_fails_changes_nothing(installation: Installation) -> None:
    older(installation)
    write_revision(
        installation.workspace.plugins / "fan_speed" / "migrations",
        3,
        """
        op.execute("CREATE TABLE debris (n INTEGER)")
        op.execute("UPDATE fan_speed_readings_data SET value = 100")
        op.execute("INSERT INTO nowhere VALUES (1)")
        """,
    )
    before = tables(installation.url)
    failed = installation.run("migrate")
    assert failed.returncode == 1
    assert [line.split(":")[0] for line in failed.stdout.splitlines()] == [
        "applying fan_speed_0002 of plugin Fan_Speed",
        "applying fan_speed_0003 of plugin Fan_Speed",
    ]
    assert failed.stderr.startswith(
        "revision fan_speed_0003 of plugin Fan_Speed: expected every statement to"
    )
    assert "nowhere" in failed.stderr
    assert failed.stderr.endswith("; nothing was changed: the migration was rolled back as a whole\n")
    assert failed.stderr.count("\n") == 1
    assert tables(installation.url) == before
    assert installation.revisions() == ["0005", "fan_speed_0001"]
    assert query(installation.url, "SELECT max(value) AS n FROM fan_speed_readings") == [{"n": 2.0}]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_commands_say_which_plugin_they_leave_out(installation: Installation) -> None:
    older(installation)
    (installation.workspace.plugins / "fan_speed" / "server.py").write_text("1 / 0\n")
    for command in (
        ("migrate",),
        ("migrate", "--dry-run"),
        ("migrate", "--sql"),
        ("verify",),
        ("rebuild", "--json"),
        ("retain", "--dry-run"),
    ):
        done = installation.run(*command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("warning: plugin Fan_Speed"), command
        assert done.stderr.endswith("; left out\n")
    assert installation.run("verify", "--plugin", "Temperature").stderr == ""


def test_wrong_usage(installation: Installation) -> None:
    for options in (["--sql", "--dry-run"], ["--sql", "--json"], ["--downgrade"]):
        refused = installation.run("migrate", *options)
        assert (refused.returncode, refused.stdout) == (2, ""), options
    shown = installation.run("migrate", "--help")
    assert "Example: faust -A sparkle_app migrate" in shown.stdout
    assert not Path(str(make_url(installation.url).database)).exists()


def test_the_watermarks_of_retention_are_added(installation: Installation) -> None:
    installation.migrate()
    expected = tables(installation.url)
    installation.add_readings("temperature_readings_data", 3)
    installation.script(
        "DROP TABLE sparkle_retention; ALTER TABLE sparkle_hosts DROP COLUMN clock_offset_seconds;"
        " UPDATE sparkle_schema SET version_num = '0002';"
    )
    assert installation.check().split("found ")[1].startswith("0002; run `faust -A sparkle_app migrate`")
    other = copy(installation)
    other.script(other.migrate("--sql"))
    assert installation.migrate().startswith("applying 0003: Watermarks of retention.\n")
    for each in (installation, other):
        assert (tables(each.url), each.revisions()) == (expected, ["0005"])
        assert count(each.url, "temperature_readings") == 3
        assert "nothing to do" in each.migrate()


def test_the_column_of_clock_offsets_is_added(installation: Installation) -> None:
    installation.migrate()
    expected = tables(installation.url)
    installation.script(
        "ALTER TABLE sparkle_hosts DROP COLUMN clock_offset_seconds;"
        " ALTER TABLE sparkle_retention DROP COLUMN rebuilt_at;"
        f" UPDATE sparkle_schema SET version_num = '{_before('0004')}';"
    )
    assert installation.check().split("found ")[1].startswith(f"{_before('0004')}; run `faust")
    other = copy(installation)
    other.script(other.migrate("--sql"))
    assert installation.migrate().startswith("applying 0004: Offsets of clocks that are not trusted.\n")
    for each in (installation, other):
        assert (tables(each.url), each.revisions()) == (expected, ["0005"])
        assert "nothing to do" in each.migrate()


def test_the_number_of_rebuilds_moves_to_a_column_of_its_own(installation: Installation) -> None:
    installation.migrate()
    expected = tables(installation.url)
    marks = [("p", 0, 3, 0, 0, 0, 7), ("p", 3600, 2, 1, 1, 9, 8), ("q", 0, 0, 0, 0, 0, 0)]
    installation.script(
        "ALTER TABLE sparkle_retention DROP COLUMN rebuilt_at;"
        f" INSERT INTO sparkle_retention VALUES {', '.join(map(str, marks))};"
        f" UPDATE sparkle_schema SET version_num = '{_before('0005')}';"
    )
    assert installation.check().split("found ")[1].startswith(f"{_before('0005')}; run `faust")
    other = copy(installation)
    other.script(other.migrate("--sql"))
    assert installation.migrate().startswith("applying 0005: When aggregates were last rebuilt.\n")
    for each in (installation, other):
        assert (tables(each.url), each.revisions()) == (expected, ["0005"])
        found = query(each.url, "SELECT * FROM sparkle_retention ORDER BY plugin, resolution")
        assert [tuple(row.values()) for row in found] == [
            ("p", 0, 3, 0, 0, 0, 0, 7),
            ("p", 3600, 2, 1, 1, 9, 8, 0),
            ("q", 0, 0, 0, 0, 0, 0, 0),
        ]
        assert "nothing to do" in each.migrate()


def _before(revision: str) -> str:
    """The revision before another one of the handler."""
    ids = [each.revision for each in core_branch().revisions]
    return ids[ids.index(revision) - 1]
