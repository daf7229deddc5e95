"""Dead letters over HTTP, read from a broker: counts, pages, and what would become of one now."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from confluent_kafka import Producer

from sparkle_app.dead_letters.message import dead_letter_key
from sparkle_app.kafka.topology import dead_letter_topic
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.web.api import dead_letter_cache
from tests.integration.test_dead_letter_commands import produce_dead_letters, produce_more
from tests.support.broker import Broker
from tests.support.cluster import InProcessWorker
from tests.support.collector import Collector
from tests.support.produce import create_topic
from tests.support.worker import Workspace

# The embedded broker does not report the end offsets of a topic.
pytestmark = pytest.mark.kafka
PATH = "/api/v1/dead-letters"


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    return Collector(workspace.certs)


@pytest.fixture
async def worker(
    broker: Broker, workspace: Workspace, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InProcessWorker]:
    monkeypatch.setattr(dead_letter_cache, "CACHE_SECONDS", 0.0)
    create_topic(broker.bootstrap, workspace.topic, 1)
    unknown = InvalidRecordError(Reason.UNKNOWN_PLUGIN, "no such plugin", None, "Temperature", "core/0")
    produce_dead_letters(
        broker,
        workspace,
        (0, b"junk\x00\xff", InvalidRecordError(Reason.NOT_JSON, "expected an object")),
        # Its plugin is installed now.
        (1, collector.record("web-1", "Temperature", "core/0", 40.0), unknown),
        (2, collector.record("web-1", "Temperature", "core/0", 1e9), unknown),
        (3, collector.record("web-2", "Fans", "1", 1.0), unknown),
    )
    lines = [f"app_id: {workspace.app_id}", f"certs: {workspace.certs}"]
    worker = InProcessWorker(workspace.folder / "worker", *lines, broker=broker.bootstrap)
    await worker.start()
    yield worker
    await worker.stop()


async def test_dead_letters_are_counted_and_paged(worker: InProcessWorker, workspace: Workspace) -> None:
    status, found = await worker.get(f"{PATH}?limit=3")
    assert (status, found["total"], found["left_out"]) == (200, 4, 0)
    assert found["by_reason"] == {"unknown_plugin": 3, "not_json": 1}
    assert found["by_host"] == {"web-1": 2, "web-2": 1, "-": 1}
    assert [each["offset"] for each in found["dead_letters"]] == [3, 2, 1]
    first = found["dead_letters"][2]
    assert first["key"] == f"{workspace.topic}/0/1@1700000001000"
    assert (first["detail"], first["plugin"], first["metric"]) == ("no such plugin", "Temperature", "core/0")
    assert first["received_at"] == "2023-11-14T22:13:21Z"
    status, found = await worker.get(f"{PATH}?limit=3&offset=3")
    assert [each["offset"] for each in found["dead_letters"]] == [0]
    for query, offsets in [
        ("reason=not_json", [0]),
        ("host=web-1", [2, 1]),
        ("config=1&host=web-2", [3]),
        ("topic=other", []),
    ]:
        status, found = await worker.get(f"{PATH}?{query}")
        assert (status, [each["offset"] for each in found["dead_letters"]]) == (200, offsets), query


async def test_one_says_whether_it_would_be_stored_now(worker: InProcessWorker, workspace: Workspace) -> None:
    for offset, stored, obstacle in [
        (0, False, "not_json"),
        (1, True, None),
        (2, False, "invalid_value: expected -100 to 250"),
        (3, False, "unknown_plugin"),
    ]:
        key = quote(f"{workspace.topic}/0/{offset}@{1_700_000_000 + offset}000", safe="")
        status, found = await worker.get(f"{PATH}/{key}")
        assert (status, found["would_be_stored"]) == (200, stored)
        assert (found["obstacle"] or "").startswith(obstacle or "")
        assert found["dead_letter"]["offset"] == offset
    assert "40.0" not in found["value"]
    status, problem = await worker.get(f"{PATH}/nothing%2F0%2F1")
    assert (status, problem["detail"].partition(":")[0]) == (404, "key")


async def test_only_what_was_produced_since_is_read_again(
    worker: InProcessWorker, broker: Broker, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await worker.get(PATH))[1]["total"] == 4
    monkeypatch.setattr(dead_letter_cache, "MAX_KEPT", 3)
    record = Record(workspace.topic, 0, 1, 1_700_000_001_000_000, b"")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(dead_letter_topic(workspace.app_id), None, dead_letter_key(record))
    assert producer.flush(20) == 0
    _, found = await worker.get(PATH)
    assert sorted(each["offset"] for each in found["dead_letters"]) == [0, 2, 3]
    produce_more(broker, workspace, (9, b"junk", InvalidRecordError(Reason.NOT_JSON, "expected an object")))
    _, found = await worker.get(PATH)
    assert (found["total"], found["left_out"]) == (3, 1)
    assert [each["offset"] for each in found["dead_letters"]] == [9, 3, 2]
