"""A plugin that overrides the defaults: another table layout, another validation, another topic."""

import json
import shutil
from urllib.parse import quote

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, query
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.worker import Workspace, run_command

pytestmark = pytest.mark.any_broker

MANIFEST = 'NAME, VERSION, AUTHOR, TOPIC = "Disk", "2.0", "me", "{topic}"\n'
INIT = "from .manifest import AUTHOR, NAME, TOPIC, VERSION\nfrom .server import plugin\n"
SERVER = '''
import json
from sqlalchemy import BigInteger, String, Text, select
from sqlalchemy.orm import mapped_column
from sparkle_app.plugin_api import AggregatesTable, Base, InvalidValue, Plugin, Reading

class Documents(Base):
    """One JSON document for each reading."""
    __tablename__ = "disk_documents"
    id = mapped_column(String(32), primary_key=True)
    host = mapped_column(String(1024))
    at = mapped_column(BigInteger)
    document = mapped_column(Text)

class Aggregates(AggregatesTable):
    __tablename__ = "disk_aggregates"

class Disk(Plugin):
    unit = "bytes"
    Aggregates = Aggregates

    def validate(self, key, value):
        if not isinstance(value, dict) or set(value) != {"used", "free"}:
            raise InvalidValue("expected an object with used and free")
        return value

    def numeric_value(self, reading):
        return float(reading.value["used"])

    def store_readings(self, connection, readings):
        by_id = {reading.id.hex(): reading for reading in readings}
        table = Documents.__table__
        known = set(connection.execute(select(table.c.id).where(table.c.id.in_(by_id))).scalars())
        for id_, reading in by_id.items():
            if id_ not in known:
                document = json.dumps([reading.key, reading.value])
                row = {"id": id_, "host": reading.hostname, "at": reading.observed_at, "document": document}
                connection.execute(table.insert(), row)
        return list(by_id.values())

    def load_readings(self, connection, hostnames, start, end, limit=None):
        table = Documents.__table__
        wanted = select(table).where(table.c.host.in_(hostnames), table.c.at >= start, table.c.at < end)
        for row in connection.execute(wanted.order_by(table.c.at).limit(limit)):
            key, value = json.loads(row.document)
            yield Reading(bytes.fromhex(row.id), 0, row.host, "Disk", key, value, row.at, row.at, True, "", 0, 0)

plugin = Disk()
'''


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_plugin_replaces_any_default_in_its_own_folder(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    topic = f"{workspace.app_id}-disks"
    package = workspace.plugins / "disk"
    package.mkdir()
    for name, text in {"__init__": INIT, "manifest": MANIFEST.format(topic=topic), "server": SERVER}.items():
        (package / f"{name}.py").write_text(text)
    collector = Collector(workspace.certs)
    worker = start_worker()
    sizes = [{"used": used, "free": 100 - used} for used in (10, 20, 60)]
    good = [collector.record("web-1", "Disk", "/var", size) for size in sizes]
    bad = collector.record("web-1", "Disk", "/var", 10)
    # Twice, as after a producer's retry.
    produce(broker.bootstrap, topic, [*good, bad, *good])

    status, answer = eventually(
        lambda: worker.get("/api/v1/plugins/Disk/hosts/web-1"),
        lambda found: found[0] == 200 and found[1]["metrics"]["/var"]["count"] >= 3,
    )
    assert (status, answer["unit"]) == (200, "bytes")
    found = answer["metrics"]["/var"]
    assert (found["count"], found["average"], found["minimum"], found["maximum"]) == (3, 30, 10, 60)
    (letter,) = eventually(lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"), bool)
    assert dict(letter.headers)["sparkle-reason"] == b"invalid_value"
    rows = query(database_url, "SELECT document FROM disk_documents")
    assert sorted((json.loads(row["document"]) for row in rows), key=str) == [
        ["/var", size] for size in sizes
    ]
    counted = eventually(
        lambda: query(database_url, 'SELECT sum("count") AS n FROM disk_aggregates')[0]["n"],
        lambda n: (n or 0) >= 3,
    )
    assert counted == 3
    environment = workspace.environment(broker.bootstrap, database_url)
    refused = run_command(environment, "hosts", "rename", "web-1", "web-2", "--yes")
    assert "found plugin Disk, which stores them in its own way" in refused.stderr


NOT_NUMBERS = """
from sparkle_app.plugin_api import AggregatesTable, {kind}Plugin, {kind}ReadingsTable

class Readings({kind}ReadingsTable):
    __tablename__ = "{name}_readings"

class Aggregates(AggregatesTable):
    __tablename__ = "{name}_aggregates"

class Values({kind}Plugin):
    DataFrame, Aggregates = Readings, Aggregates

    def numeric_value(self, reading):
        return reading.value["load"] if isinstance(reading.value, dict) else None

plugin = Values()
"""


@EVERY_DATABASE
def test_values_that_are_not_numbers_are_stored_and_served_as_they_were_sent(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    for kind, name in (("String", "States"), ("Json", "Documents")):
        package = workspace.plugins / name.lower()
        package.mkdir()
        manifest = f'NAME, VERSION, AUTHOR, TOPIC = "{name}", "1.0", "me", "{workspace.topic}"\n'
        server = NOT_NUMBERS.format(kind=kind, name=name.lower())
        for file, text in {"__init__": INIT, "manifest": manifest, "server": server}.items():
            (package / f"{file}.py").write_text(text)
    collector = Collector(workspace.certs)
    worker = start_worker()
    strings = ["clean", "ж" * 20, "", 'it\'s \\ "quoted"']
    documents = [{"load": 1.5, "of": ["a", None]}, [1, 2.5, "x"], None, True, "text", 10**15, {"load": 2}]
    records = [collector.record("web-1", "States", f"s{n}", value) for n, value in enumerate(strings)]
    records += [collector.record("web-1", "Documents", f"d{n}", value) for n, value in enumerate(documents)]
    # A string plugin takes no numbers. Twice, as after a producer's retry.
    produce(
        broker.bootstrap, workspace.topic, [*records, collector.record("web-1", "States", "s", 1), *records]
    )

    def served(plugin: str) -> list[tuple[str, object]]:
        _, page = worker.get(f"/api/v1/plugins/{plugin}/hosts/web-1/readings")
        return sorted((each["metric"], each["value"]) for each in page.get("readings", []))

    expected = [(f"s{n}", value) for n, value in enumerate(strings)]
    assert eventually(lambda: served("States"), lambda found: len(found) >= len(strings)) == expected
    expected_documents = [(f"d{n}", value) for n, value in enumerate(documents)]
    assert (
        eventually(lambda: served("Documents"), lambda found: len(found) >= len(documents))
        == expected_documents
    )
    (letter,) = eventually(lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"), bool)
    assert dict(letter.headers)["sparkle-reason"] == b"invalid_value"
    _, answer = eventually(
        lambda: worker.get("/api/v1/plugins/Documents/hosts/web-1"), lambda found: found[0] == 200
    )
    assert {name: each["average"] for name, each in answer["metrics"].items()} == {"d0": 1.5, "d6": 2.0}
    verified = run_command(workspace.environment(broker.bootstrap, database_url), "verify")
    assert "Documents: 2 readings, 2 aggregates, 0 differences" in verified.stdout, verified.stdout
    assert "States: 0 readings, 0 aggregates, 0 differences" in verified.stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_name_in_another_script_works_everywhere(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    name = "Вентиляторы зала"
    shutil.copytree(workspace.plugins / "temperature", workspace.plugins / "fans")
    for file, old, new in [
        ("manifest.py", '"Temperature"', f'"{name}"'),
        ("server.py", "temperature_", "fans_"),
    ]:
        path = workspace.plugins / "fans" / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")
    collector = Collector(workspace.certs)
    worker = start_worker()
    produce(broker.bootstrap, workspace.topic, [collector.record("web-1", name, "rear", 20.0)])
    _, answer = eventually(
        lambda: worker.get(f"/api/v1/plugins/{quote(name)}/hosts/web-1"), lambda found: found[0] == 200
    )
    assert answer["metrics"]["rear"]["count"] == 1
    assert [row["value"] for row in query(database_url, "SELECT value FROM fans_readings")] == [20.0]
    verified = run_command(workspace.environment(broker.bootstrap, database_url), "verify")
    assert f"{name}: 1 reading, 1 aggregate, 0 differences" in verified.stdout
