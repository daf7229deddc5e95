"""The statuses of the OpenAPI document are those of the responses, also while something does not work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sparkle_app.runtime.clock import WallClock
from sparkle_app.web.api import openapi
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign
from tests.support.fake_clock import FakeClock

NAMES = {"{plugin}": PLUGIN, "{host}": "web-1", "{key}": "none"}


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def worker(tmp_path: Path, wall: FakeClock) -> AsyncIterator[InProcessWorker]:
    """Neither its database nor its broker works."""
    worker = InProcessWorker(tmp_path / "worker", broker="127.0.0.1:1")
    worker.app.clock = WallClock(wall, FakeClock(0.0))
    await worker.start()
    yield worker
    await worker.stop()


@pytest.mark.parametrize("what", ["nothing", "clock", "owners", "another worker"])
async def test_a_response_has_a_documented_status_and_type(
    worker: InProcessWorker, wall: FakeClock, what: str
) -> None:
    assign([worker], set(range(PARTITIONS)))
    match what:
        case "clock":
            wall.now += 3600
        case "owners":
            assign([worker], set())
        case "another worker":
            worker.owned = {0}
            # It answers 404.
            worker.group.urls = {0: worker.url} | dict.fromkeys((1, 2, 3), f"{worker.url}/elsewhere")
    _, document = await worker.get(openapi.PATH)
    undocumented = []
    for path, methods in document["paths"].items():
        url = worker.url + path
        for placeholder, name in NAMES.items():
            url = url.replace(placeholder, name)
        for method, operation in methods.items():
            async with worker.http.request(method, url) as response:
                documented = operation["responses"].get(str(response.status), {}).get("content", {})
                if response.content_type not in documented:
                    undocumented.append((method, path, response.status, response.content_type))
    assert undocumented == []
