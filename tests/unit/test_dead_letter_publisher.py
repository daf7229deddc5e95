"""How many dead letters the publisher produces for one cause, and what it logs."""

import logging
import pickle
from collections.abc import Iterable

import pytest

from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record, Rejection
from sparkle_app.runtime import cause_limit
from sparkle_app.runtime.cause_limit import CauseLimit
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.cipher import Cipher


class Published(TopicPublisher):
    """Keeps what would be produced."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.max_message_bytes = MAX_MESSAGE_BYTES

    async def publish(self, messages: Iterable[Message]) -> None:
        self.messages.extend(messages)


def rejection(
    offset: int,
    reason: Reason = Reason.INVALID_VALUE,
    host: str = "a",
    metric: str | None = "disk",
    replayed: bool = False,
) -> Rejection:
    value = b'{"config_id": 7, "hostname": "%s"}' % host.encode()
    record = Record("telemetry", 3, offset, 0, value, replayed=replayed)
    return Rejection(record, InvalidRecordError(reason, "expected -100 to 250", None, "Temperature", metric))


class World:
    """A publisher with a limit of ten dead letters per cause."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.metrics = Metrics()
        self.topic = Published()
        limit = CauseLimit(10, lambda: self.now)
        self.publisher = DeadLetterPublisher(self.topic, limit, self.metrics, Cipher(b"k" * 32))

    def produced(self, *rejections: Rejection) -> list[int]:
        return [record.offset for record, _ in self.publisher.within_limit(rejections)]

    def suppressed(self, reason: Reason) -> float | None:
        return self.metrics.registry.get_sample_value(
            "sparkle_dead_letters_suppressed_total", {"reason": reason}
        )


@pytest.fixture
def world() -> World:
    return World()


def test_of_one_cause_only_the_first_of_a_minute_become_dead_letters_and_the_others_are_counted(
    world: World,
) -> None:
    assert world.produced(*map(rejection, range(8000))) == list(range(10))
    assert world.suppressed(Reason.INVALID_VALUE) == 7990
    world.now += 59
    assert world.produced(rejection(8000)) == []
    world.now += 1
    assert world.produced(rejection(8001)) == [8001]


def test_other_hosts_metrics_and_reasons_are_not_affected(world: World) -> None:
    world.produced(*map(rejection, range(100)))
    others = [
        rejection(1, host="b"), rejection(2, metric="core"), rejection(3, Reason.NOT_JSON), rejection(4, metric=None),
    ]  # fmt: skip
    assert world.produced(*others, rejection(5)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "reason",
    [
        Reason.UNKNOWN_CONFIG,
        Reason.UNDECRYPTABLE,
        Reason.UNKNOWN_PLUGIN,
        Reason.REFUSED_BY_DATABASE,
        Reason.TOO_MANY_METRICS,
    ],
)
def test_what_can_become_a_reading_later_is_always_a_dead_letter(world: World, reason: Reason) -> None:
    assert world.produced(*(rejection(n, reason) for n in range(100))) == list(range(100))
    assert world.suppressed(reason) == 0


def test_a_replayed_record_keeps_its_dead_letter(world: World) -> None:
    assert world.produced(*(rejection(n, replayed=True) for n in range(100))) == list(range(100))


def test_a_suppressed_dead_letter_is_logged_once_a_minute_with_its_host_and_metric(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        world.produced(*map(rejection, range(100)))
    (line,) = caplog.messages
    assert "dead_letters.per_cause" in line
    assert (
        "partition 3, offset 10, host a, plugin Temperature, metric disk: invalid_value: expected -100 to 250"
        in line
    )


async def test_the_log_names_host_and_metric_without_control_characters(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await world.publisher.send([rejection(1, metric="\x1b[2J"), rejection(2)])
    (line,) = caplog.messages
    assert line.startswith("2 dead letters from topic telemetry, the first at partition 3, offset 1, host a,")
    assert "\x1b" not in line
    assert len(world.topic.messages) == 2


async def test_a_single_dead_letter_is_logged_in_the_singular(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await world.publisher.send([rejection(1)])
    (line,) = caplog.messages
    assert line.startswith("1 dead letter from topic telemetry, at partition 3, offset 1, host a,")


async def test_many_errors_of_one_reason_are_some_lines_in_a_minute(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may produce can invent configs, and each has an error of its own."""
    errors = [
        Rejection(
            rejection(number).record,
            InvalidRecordError(Reason.UNKNOWN_CONFIG, f"certs/rsa_key_{number} does not exist" + 9999 * "!"),
        )
        for number in range(1000)
    ]
    with caplog.at_level(logging.WARNING):
        for start in range(0, 1000, 100):
            await world.publisher.send(errors[start : start + 100])
        await world.publisher.send([rejection(1)])
    assert len(world.topic.messages) == 1001
    *lines, last, other = caplog.messages
    assert [f"certs/rsa_key_{number} does not exist" in line for number, line in enumerate(lines)] == 10 * [
        True
    ]
    assert last == (
        "more than 10 lines about dead letters from topic telemetry (unknown_config) in a minute: further ones are"
        " counted in sparkle_dead_letters_total but not logged"
    )
    assert other.startswith("1 dead letter from topic telemetry")
    assert all(len(line) < 1000 for line in caplog.messages)


def test_a_cause_needs_no_more_memory_if_the_hostname_is_long(world: World) -> None:
    first = [rejection(number, host=f"{number}" + "h" * 100_000) for number in range(2)]
    assert world.produced(*first * 20) == [0, 1] * 10
    assert len(pickle.dumps(world.publisher._limit._counts)) < 1_000


def test_the_memory_of_causes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cause_limit, "_MAX_CAUSES", 100)
    now = 0.0
    limit = CauseLimit(1, lambda: now)
    assert limit.allows("first")
    now = 30.0
    assert all(limit.allows(number) for number in range(99))
    assert not limit.allows("first")
    now = 61.0
    # Only what is older than a minute is forgotten.
    assert limit.allows("new")
    assert not limit.allows(5)
    assert limit.allows("first")
    assert all(limit.allows(-number) for number in range(1, 500))
    assert len(limit._counts) <= 100
