"""docs/grafana: Grafana knows every key, every query runs as the read-only user and finds rows, who cannot write."""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pymysql
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from sqlalchemy.engine import make_url

from sparkle_app.model.time import micros
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.retention import advance
from tests.support.grafana import expand, queries
from tests.support.mariadb import MariadbServer
from tests.support.package_rows import PackageReading, store_through_packages
from tests.support.postgres import PostgresServer
from tests.support.worker import PROJECT, Workspace, run_command

FOLDER = PROJECT / "docs" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (FOLDER / "dashboards").glob("*.json")
}
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
HOSTS = ["web-1", "it's", "ядро"]
VALUES = {
    "resolution": "60",
    "__interval": "1m",
    "host": "it's",
    "temperature": ["core/0", "it's/1"],
    "load": ["CPU/total"],
}
WRITES = (
    "INSERT INTO sparkle_hosts SELECT * FROM sparkle_hosts",
    "UPDATE sparkle_hosts SET config_id = 2",
    "DELETE FROM temperature_readings_data",
    "DELETE FROM temperature_aggregates_data",
    "CREATE TABLE mine (id integer)",
    "DROP TABLE sparkle_hosts",
)


@pytest.mark.parametrize("name", ["fleet", "host"])
def test_every_key_of_a_dashboard_is_one_of_grafanas_schema(name: str) -> None:
    register_default_plugins()
    # What the types generated from Grafana's schema do not know is lost.
    decoded = Dashboard.from_json(DASHBOARDS[name])
    assert missing(DASHBOARDS[name], json.loads(json.dumps(decoded, cls=JSONEncoder))) == []
    unknown = json.loads(json.dumps(DASHBOARDS[name]))
    unknown["panels"][0]["options"]["colour"] = "red"
    decoded = Dashboard.from_json(unknown)
    assert missing(unknown, json.loads(json.dumps(decoded, cls=JSONEncoder))) == ["/panels/0/options/colour"]


def test_the_parts_of_the_dashboards_belong_together() -> None:
    assert sorted(DASHBOARDS) == ["fleet", "host"]
    uids = {dashboard["uid"] for dashboard in DASHBOARDS.values()}
    for dashboard in DASHBOARDS.values():
        text = json.dumps(dashboard)
        assert set(re.findall(r"/d/([\w-]+)", text)) <= uids
        assert set(re.findall(r'"datasource": (\{.*?\})', text)) == {'{"uid": "sparkle"}'}
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        cells = [
            (x, y)
            for panel in dashboard["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) == 23
    for name in ("postgresql", "mariadb"):
        (source,) = yaml.safe_load((FOLDER / f"provisioning/datasources/{name}.yaml").read_text())[
            "datasources"
        ]
        assert source["uid"] == "sparkle"
        assert source["secureJsonData"] == {"password": "$SPARKLE_GRAFANA_PASSWORD"}
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/sparkle.yaml").read_text())["providers"]
    assert provider["options"]["path"] in (FOLDER / "README.md").read_text()


@pytest.fixture
def rows(database_url: str, workspace: Workspace) -> None:
    """Readings of three hosts in the last hours, with aggregates; all of them are silent."""
    start = int(HOUR.timestamp())
    readings: list[PackageReading] = [
        ("Temperature", host, metric, 20.0 + n + 10 * HOSTS.index(host), start + 20 * n)
        for host in HOSTS
        for metric in ("core/0", "it's/1")
        for n in range(30)
    ]
    readings += [
        ("PU_Workload", host, metric, 5.0 * HOSTS.index(host), start + 20 * n)
        for host in HOSTS
        for metric in ("CPU/total", "GPU/0 x")
        for n in range(30)
    ]
    store_through_packages(database_url, workspace, readings)
    assert run_command(workspace.environment("127.0.0.1:1", database_url), "rebuild").returncode == 0


@pytest.fixture
def reader(request: pytest.FixtureRequest, database_url: str, rows: None) -> Iterator[Any]:
    """A connection of the read-only user, as Grafana's data source opens it."""
    url = make_url(database_url)
    name, user, password = str(url.database), f"grafana_{uuid.uuid4().hex[:8]}", "it's secret"
    if url.get_backend_name() == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        script = (FOLDER / "postgresql-role.sql").read_text("utf-8").replace("grafana", user)
        postgres.run_script(name, f"\\set owner postgres\n\\set password 'it''s secret'\n{script}")
        connection = psycopg2.connect(
            host="127.0.0.1", port=postgres.port, user=user, password=password, dbname=name
        )
        connection.autocommit = True
    else:
        mariadb: MariadbServer = request.getfixturevalue("mariadb")
        script = (FOLDER / "mariadb-role.sql").read_text("utf-8")
        script = re.sub("(?m)^--.*$", "", script)
        script = script.replace("'password'", "'it''s secret'").replace("sparkle.", f"{name}.")
        mariadb.run(*filter(str.strip, script.replace("grafana", user).split(";")))
        (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/mariadb.yaml").read_text())[
            "datasources"
        ]
        connection = pymysql.connect(
            host="127.0.0.1",
            port=mariadb.port,
            user=user,
            password=password,
            database=name,
            init_command=f"SET time_zone = '{source['jsonData']['timezone']}'",
            autocommit=True,
        )
    with closing(connection):
        yield connection


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_every_query_runs_as_the_read_only_user_who_cannot_write(reader: Any, database_url: str) -> None:
    database = make_url(database_url).get_backend_name()
    end = datetime.now(UTC)
    found: dict[str, list[tuple[Any, ...]]] = {}
    with closing(reader.cursor()) as cursor:
        for name, dashboard in DASHBOARDS.items():
            for where, form, query in queries(dashboard):
                cursor.execute(expand(query, database, HOUR - timedelta(hours=1), end, VALUES))
                columns = [column[0] for column in cursor.description]
                found[f"{name}: {where}"] = rows = list(cursor.fetchall())
                assert rows, where
                if form == "time_series":
                    assert columns[0] == "time"
                    times = [float(row[0]) for row in rows]
                    assert times == sorted(times)
                    # In UTC, whatever the server's time zone is.
                    assert min(times) == HOUR.timestamp(), where
                    assert max(times) == HOUR.timestamp() + 9 * 60, where
        # Nothing is outside of the time range.
        for name, dashboard in DASHBOARDS.items():
            for where, form, query in queries(dashboard):
                if "$__timeFilter" in query:
                    cursor.execute(
                        expand(query, database, HOUR - timedelta(hours=3), HOUR - timedelta(hours=1), VALUES)
                    )
                    assert not cursor.fetchall(), f"{name}: {where} {form}"
        for statement in WRITES:
            with pytest.raises((psycopg2.Error, pymysql.err.Error)) as refused:
                cursor.execute(statement)
            assert re.search("permission denied|must be owner|read-only|command denied", str(refused.value))
        if database == "postgresql":
            # Not only by a setting that the user can change.
            cursor.execute("SET default_transaction_read_only = off")
            for statement in WRITES:
                with pytest.raises(psycopg2.Error, match=r"permission denied|must be owner"):
                    cursor.execute(statement)
    assert [tuple(map(int, row)) for row in found["fleet: Hosts A"]] == [(3,)]
    for name in DASHBOARDS:
        assert [int(row[0]) for row in found[f"{name}: variable resolution"]] == [60]
    assert [tuple(map(int, row)) for row in found["fleet: Silent hosts A"]] == [(3,)]
    assert [tuple(map(int, row)) for row in found["fleet: Hosts by config A"]] == [(1, 3)]
    assert sum(int(row[1]) for row in found["fleet: Readings A"]) == 180
    assert [(row[0], float(row[1]), float(row[2])) for row in found["fleet: Hottest hosts A"]] == [
        ("ядро", 69, 54.5),
        ("it's", 59, 44.5),
        ("web-1", 49, 34.5),
    ]
    assert [(row[0], float(row[1])) for row in found["fleet: Busiest hosts A"]] == [
        ("ядро", 10),
        ("it's", 5),
        ("web-1", 0),
    ]
    assert sorted({row[1] for row in found["host: Temperature, average A"]}) == ["core/0", "it's/1"]
    assert float(found["host: Temperature, average A"][0][2]) == 31
    assert float(found["host: Temperature, maximum A"][0][2]) == 32
    assert {row[1] for row in found["host: Load, average A"]} == {"CPU/total"}
    assert len(found["host: Last temperatures A"]) == 60
    assert sorted(row[0] for row in found["host: variable host"]) == sorted(HOSTS)
    assert found["host: variable load"] == [("CPU/total",), ("GPU/0 x",)]


def missing(given: Any, decoded: Any, path: str = "") -> list[str]:
    """The paths of what is in ``given`` and not, or differently, in ``decoded``."""
    if isinstance(given, dict) and isinstance(decoded, dict):
        return [
            lost
            for key, value in given.items()
            for lost in (
                missing(value, decoded[key], f"{path}/{key}") if key in decoded else [f"{path}/{key}"]
            )
        ]
    if isinstance(given, list) and isinstance(decoded, list) and len(given) == len(decoded):
        pairs = enumerate(zip(given, decoded, strict=True))
        return [lost for n, (one, other) in pairs for lost in missing(one, other, f"{path}/{n}")]
    return [] if given == decoded else [path]


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_panels_read_aggregates_that_are_kept_and_not_too_many(reader: Any, database_url: str) -> None:
    database = make_url(database_url).get_backend_name()
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    now = midnight + timedelta(hours=12)
    texts = {
        query
        for dashboard in DASHBOARDS.values()
        for where, _, query in queries(dashboard)
        if where == "variable resolution"
    }
    (text,) = texts

    def resolution(days: float, until: datetime = now) -> int:
        with closing(reader.cursor()) as cursor:
            cursor.execute(expand(text, database, until - timedelta(days=days), until, VALUES))
            ((found,),) = cursor.fetchall()
            return int(found)

    # Hours and days have not been merged.
    assert (resolution(1), resolution(7), resolution(365)) == (60, 60, 60)
    engine = make_engine(make_url(database_url))
    for plugin in ("Temperature", "PU_Workload"):
        advance(engine, plugin, 3600, merging_until=micros(now), merged_until=micros(now))
        advance(engine, plugin, 86_400, merging_until=micros(midnight), merged_until=micros(midnight))
    assert (resolution(0.1), resolution(1), resolution(2), resolution(60)) == (60, 60, 3600, 3600)
    assert (resolution(365), resolution(20 * 365)) == (86_400, 86_400)
    # Short ranges of the past, of which one plugin keeps no buckets and then no hours either.
    past = midnight - timedelta(days=40)
    assert resolution(0.5, past) == 60
    advance(engine, "Temperature", 60, kept_since=micros(midnight - timedelta(days=30)))
    assert resolution(0.5, past) == 3600
    assert resolution(1) == 60
    advance(engine, "PU_Workload", 3600, kept_since=micros(midnight - timedelta(days=35)))
    assert resolution(0.5, past) == 86_400
    engine.dispose()
