"""What dead letters cost a worker does not grow with those who look at them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.dead_letters.message import DeadLetter, Sender, dead_letter_key
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Record
from sparkle_app.web.api import dead_letter_cache
from sparkle_app.web.api.dead_letters import DeadLetters
from tests.support.cluster import InProcessWorker

PATH = "/api/v1/dead-letters"


class Topic:
    """The dead-letter topic, with one partition."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, DeadLetter | None]] = []
        self.opened = self.open = self.most = 0

    @asynccontextmanager
    async def connection(self, *_arguments: Any) -> AsyncIterator["Reader"]:
        self.opened += 1
        self.open += 1
        self.most = max(self.most, self.open)
        # As opening a connection does.
        await asyncio.sleep(0.01)
        try:
            yield Reader(self.messages)
        finally:
            self.open -= 1

    def add(self, offset: int, received_at: int, host: str = "web-1") -> None:
        """A dead letter of the record at an offset, which was too large to be part of it."""
        record = Record("telemetry", 0, offset, received_at * 1_000_000, b"junk")
        self.messages.append(
            (dead_letter_key(record), DeadLetter(record, Reason.NOT_JSON, Sender(1, host), 5))
        )


class Reader:
    """Reads the topic up to its end when it was opened."""

    def __init__(self, messages: list[tuple[bytes, DeadLetter | None]]) -> None:
        self._messages = list(messages)
        self.ends = {0: len(messages)}

    async def messages(
        self, starts: Mapping[int, int]
    ) -> AsyncIterator[tuple[tuple[int, int], bytes, DeadLetter | None]]:
        for offset, (key, dead_letter) in enumerate(self._messages):
            if offset >= starts.get(0, 0):
                yield (0, offset), key, dead_letter

    async def at(self, position: tuple[int, int]) -> DeadLetter | None:
        return self._messages[position[1]][1]


@pytest.fixture
async def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    topic = Topic()
    monkeypatch.setattr(dead_letter_cache, "open_dead_letters", topic.connection)
    return topic


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    worker = InProcessWorker(tmp_path / "a")
    await worker.start()
    yield worker
    await worker.stop()


async def test_a_page_is_computed_once_for_all_viewers_until_the_topic_is_read_again(
    worker: InProcessWorker, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, computed = DeadLetters._page, 0

    async def counted(self: DeadLetters, *arguments: Any) -> Any:
        nonlocal computed
        computed += 1
        return await compute(self, *arguments)

    monkeypatch.setattr(DeadLetters, "_page", counted)
    monkeypatch.setattr(dead_letter_cache, "CACHE_SECONDS", 60.0)
    for offset in range(3):
        topic.add(offset, 10 + offset)
    found = await asyncio.gather(*(worker.get(PATH) for _ in range(10)))
    assert {status for status, _ in found} == {200}
    assert [each["offset"] for each in found[0][1]["dead_letters"]] == [2, 1, 0]
    assert computed == 1
    assert (await worker.get(f"{PATH}?limit=1"))[1]["total"] == 3
    assert computed == 2


async def test_the_newest_come_first_in_whatever_order_they_were_produced(
    worker: InProcessWorker, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_cache, "CACHE_SECONDS", 0.0)
    for offset, received_at in enumerate([30, 10, 20]):
        topic.add(offset, received_at)

    async def offsets(query: str = "") -> list[int]:
        _, found = await worker.get(PATH + query)
        return [each["offset"] for each in found["dead_letters"]]

    assert await offsets() == [0, 2, 1]
    topic.add(3, 15, "web-2")
    topic.messages.append((topic.messages[2][0], None))
    assert await offsets() == [0, 3, 1]
    assert await offsets("?host=web-1") == [0, 1]


async def test_few_dead_letters_are_read_at_one_time_and_each_once(
    worker: InProcessWorker, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_cache, "CACHE_SECONDS", 60.0)
    for offset in range(5):
        topic.add(offset, offset)
    dead = DeadLetters(worker.parts)
    keys = [key.decode() for key, _ in topic.messages]
    await dead.one(keys[0])
    topic.opened = topic.most = 0
    found = await asyncio.gather(*(dead.one(key) for key in keys * 3))
    assert [each.dead_letter.offset for each in found] == [0, 1, 2, 3, 4] * 3
    assert (topic.opened, topic.most) == (5, 2)
