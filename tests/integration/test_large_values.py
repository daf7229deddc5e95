"""Values whose sum is beyond the range of a double: verify, rebuild and HTTP stay right."""

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Workspace, run_command

pytestmark = pytest.mark.any_broker

NAME = "Unbounded"
MANIFEST = 'NAME, VERSION, AUTHOR, TOPIC = "Unbounded", "1.0", "me", "{topic}"\n'
INIT = "from .manifest import AUTHOR, NAME, TOPIC, VERSION\nfrom .server import plugin\n"
SERVER = """
from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable

class DataFrame(ReadingsTable):
    __tablename__ = "unbounded_readings"

class Aggregates(AggregatesTable):
    __tablename__ = "unbounded_aggregates"

class Unbounded(Plugin):
    DataFrame = DataFrame
    Aggregates = Aggregates

plugin = Unbounded()
"""
VALUES = {
    "equal": [1e308] * 3,
    "negative": [-1e308] * 3,
    "different": [1.5e308, 1.7e308, 0.0, 0.0],
    "cancelling": [1.5e308, 1.5e308, -1.5e308, -1.5e308],
    "tiny": [1e-310, 3e-310],
    "plain": [1.0, 2.0, 6.0],
}
AVERAGES = {
    "equal": 1e308,
    "negative": -1e308,
    "different": 0.8e308,
    "cancelling": 0.0,
    "tiny": 2e-310,
    "plain": 3.0,
}


def install(plugins: Path, topic: str) -> None:
    package = plugins / "unbounded"
    package.mkdir()
    for name, content in {
        "__init__": INIT,
        "manifest": MANIFEST.format(topic=topic),
        "server": SERVER,
    }.items():
        (package / f"{name}.py").write_text(content)


@EVERY_DATABASE
def test_an_overflowing_sum_affects_neither_averages_nor_verify_nor_rebuild(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    topic = f"{workspace.app_id}-unbounded"
    install(workspace.plugins, topic)
    collector = Collector(workspace.certs)
    worker = start_worker()
    # In one bucket, and in two messages of samples.
    now = datetime.now().replace(second=30, microsecond=0)
    records = [
        collector.record("web-1", NAME, metric, value, when=now)
        for metric, of in VALUES.items()
        for value in of
    ]
    produce(broker.bootstrap, topic, records[::2])
    produce(broker.bootstrap, topic, records[1::2])
    _, answer = eventually(
        lambda: worker.get(f"/api/v1/plugins/{NAME}/hosts/web-1"),
        lambda found: (
            found[0] == 200 and sum(each["count"] for each in found[1]["metrics"].values()) == len(records)
        ),
    )
    averages = {metric: each["average"] for metric, each in answer["metrics"].items()}
    assert averages.keys() == AVERAGES.keys()
    for metric, average in AVERAGES.items():
        assert math.isclose(averages[metric], average, rel_tol=1e-12), metric
    assert averages["equal"] == 1e308
    status, fleet = worker.get(f"/api/v1/plugins/{NAME}")
    assert (status, fleet["metrics"]["equal"]["average"]) == (200, 1e308)

    environment = workspace.environment(broker.bootstrap, database_url)
    counted = 'SELECT sum("count") AS n FROM unbounded_aggregates'
    eventually(lambda: query(database_url, counted)[0]["n"], lambda n: n == len(records))
    sums = {
        row["metric"]: row["sum"]
        for row in query(database_url, "SELECT metric, sum FROM unbounded_aggregates")
    }
    infinity = sys.float_info.max if database_url.startswith("mysql") else math.inf
    assert (sums["equal"], sums["negative"]) == (infinity, -infinity)
    assert (sums["cancelling"], sums["plain"]) == (0.0, 9.0)
    verify(environment, len(records))

    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM unbounded_aggregates_data"))
    engine.dispose()
    rebuilt = run_command(environment, "rebuild", "--plugin", NAME)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    again = {
        row["metric"]: row["sum"]
        for row in query(database_url, "SELECT metric, sum FROM unbounded_aggregates")
    }
    assert again == sums
    verify(environment, len(records))

    day = datetime.now(UTC).date().isoformat()
    status, series = worker.get(f"/api/v1/plugins/{NAME}/hosts/web-1/series?from={day}&step=1h")
    assert status == 200
    assert series["series"]["equal"][0]["average"] == 1e308
    assert series["series"]["different"][0]["average"] is None
    assert series["series"]["plain"][0]["average"] == 3.0


def verify(environment: dict[str, str], readings: int) -> None:
    done = run_command(environment, "verify", "--json", "--plugin", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["readings"], report["differences"]) == (readings, [])
