"""What dead letters cost a worker does not grow with those who look at them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sparkle_app.dead_letters.message import DeadLetter, Sender, dead_letter_key, sender_of
from sparkle_app.dead_letters.selection import Filter, fields_of
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


async def test_whatever_is_shown_of_a_sender_selects_it_for_a_replay_as_well(
    worker: InProcessWorker, topic: Topic
) -> None:
    long = 70 * "x"
    values = [
        b"junk",
        b'{"config_id": 1}',
        b'{"config_id": 1, "hostname": ""}',
        b'{"config_id": 1, "hostname": "%s1"}' % long.encode(),
        b'{"config_id": 1, "hostname": "%s2"}' % long.encode(),
        b'{"config_id": 1, "hostname": "a\\u001b[2J\\u0000"}',
        b'{"config_id": 1, "hostname": ["a"]}',
        b'{"config_id": "7", "hostname": "web-1"}',
        b'{"config_id": 7, "hostname": "web-1"}',
        b'{"config_id": 2147483647, "hostname": "web-1"}',
        b'{"config_id": true, "hostname": "web-1"}',
    ]
    dead_letters = []
    for offset, value in enumerate(values):
        record = Record("telemetry", 0, offset, offset * 1_000_000, value)
        dead_letters.append(DeadLetter(record, Reason.BAD_FIELD, sender_of(value), len(value)))
        topic.messages.append((dead_letter_key(record), dead_letters[-1]))

    async def selected(field: str, value: str) -> list[int]:
        status, found = await worker.get(f"{PATH}?{field}={quote(value)}")
        assert (status, found["total"]) == (200, len(found["dead_letters"])), (field, value)
        listed = sorted(each["offset"] for each in found["dead_letters"])
        chosen = Filter(host=value) if field == "host" else Filter(config=value)
        replayed = [each.record.offset for each in dead_letters if chosen.matches(fields_of(each))]
        assert listed == replayed, (field, value)
        return listed

    _, every = await worker.get(PATH)
    assert every["by_host"] == {"web-1": 4, "-": 4, long[:60]: 2, r"a\x1b[2J\x00": 1}
    assert every["by_config"] == {"1": 6, "7": 2, "-": 1, "2147483647": 1, "True": 1}
    assert (every["hosts"], every["configs"]) == (4, 5)
    for field in ("host", "config"):
        for value, number in every[f"by_{field}"].items():
            assert len(await selected(field, value)) == number, (field, value)
    # A whole hostname selects no other one that begins alike.
    assert await selected("host", long + "1") == [3]


@pytest.fixture
def keep_five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_cache, "CACHE_SECONDS", 0.0)
    monkeypatch.setattr(dead_letter_cache, "MAX_KEPT", 5)


async def kept_and_left_out(worker: InProcessWorker) -> tuple[list[int], int]:
    _, found = await worker.get(PATH)
    return [each["offset"] for each in found["dead_letters"]], found["left_out"]


@pytest.mark.usefixtures("keep_five")
async def test_one_that_was_left_out_and_then_replayed_is_not_left_out_any_more(
    worker: InProcessWorker, topic: Topic, tmp_path: Path
) -> None:
    for offset in range(8):
        topic.add(offset, offset)
    assert await kept_and_left_out(worker) == ([7, 6, 5, 4, 3], 3)
    keys = [key for key, _ in topic.messages]
    # The first is produced again: a worker refused it once more.
    topic.add(0, 0)
    assert await kept_and_left_out(worker) == ([7, 6, 5, 4, 3], 3)
    topic.messages.append((keys[1], None))
    assert await kept_and_left_out(worker) == ([7, 6, 5, 4, 3], 2)
    topic.messages += [(key, None) for key in keys]
    assert await kept_and_left_out(worker) == ([], 0)
    # So it is for a worker that reads the whole topic, before it is compacted.
    other = InProcessWorker(tmp_path / "b")
    await other.start()
    try:
        assert await kept_and_left_out(other) == ([], 0)
    finally:
        await other.stop()


@pytest.mark.usefixtures("keep_five")
async def test_the_oldest_are_left_out_in_whatever_order_they_were_produced(
    worker: InProcessWorker, topic: Topic
) -> None:
    # As if those of today were in the partition that is read first.
    for offset in (15, 16, 17, 18, 19, 0, 1, 2, 3, 4):
        topic.add(offset, offset)
    assert await kept_and_left_out(worker) == ([19, 18, 17, 16, 15], 5)
    topic.add(5, 5)
    topic.add(20, 20)
    assert await kept_and_left_out(worker) == ([20, 19, 18, 17, 16], 7)


@pytest.mark.usefixtures("keep_five")
async def test_the_keys_of_those_that_are_left_out_are_limited(
    worker: InProcessWorker, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_cache, "MAX_LEFT_OUT", 10)
    for offset in range(100):
        topic.add(offset, offset)
    assert await kept_and_left_out(worker) == ([99, 98, 97, 96, 95], 10)
