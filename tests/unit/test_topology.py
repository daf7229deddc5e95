"""Names of topics, which other deployments rely on, and the partition of a host."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.kafka.topology import (
    LEGAL_TOPIC,
    MAX_MESSAGE_BYTES,
    TopicSpec,
    changelog_topic,
    dead_letter_topic,
    legal_name,
    partition_of,
    samples_topic,
    table_name,
    topic_specs,
)


def test_names_stay_what_they_are() -> None:
    assert samples_topic("sparkle", "Temperature") == "sparkle-Temperature-samples"
    assert dead_letter_topic("sparkle") == "sparkle-dead-letters"
    assert table_name("Temperature", 60) == "Temperature-60s"
    assert changelog_topic("sparkle", "Temperature", 60) == "sparkle-Temperature-60s-changelog"


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("Temperature", "Temperature"),
        ("Температура", "plugin_8aa1d054"),
        ("Fan speed", "Fan_speed_1e3c403a"),
        ("Fan  speed", "Fan_speed_cd7dfb18"),
        ("X-ray?", "X_ray_adb87276"),
        ("a" * 61, "a" * 20 + "_35d5fc17"),
    ],
)
def test_names_in_other_scripts_have_legal_names_that_stay_what_they_are(name: str, legal: str) -> None:
    assert legal_name(name) == legal


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_legal_names_are_legal_and_unique(one: str, other: str) -> None:
    assert LEGAL_TOPIC.fullmatch(changelog_topic("a" * 60, one, 86400))
    assert (legal_name(one) == legal_name(other)) is (one == other)


def test_a_worker_needs_these_topics() -> None:
    appended = {"message.timestamp.type": "LogAppendTime"}
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES), **appended}
    compacted = {**large, "cleanup.policy": "compact"}
    samples = {**large, "cleanup.policy": "delete"}
    # Iterators: each is gone through once.
    assert topic_specs("app", iter(["telemetry", "power"]), iter(["A", "B"]), 300) == [
        TopicSpec("telemetry", appended, by_host=False),
        TopicSpec("power", appended, by_host=False),
        TopicSpec("app-dead-letters", compacted, by_host=False),
        TopicSpec("app-A-samples", samples, by_host=True),
        TopicSpec("app-B-samples", samples, by_host=True),
        TopicSpec("app-A-300s-changelog", compacted, by_host=True),
        TopicSpec("app-B-300s-changelog", compacted, by_host=True),
    ]
    assert MAX_MESSAGE_BYTES == 16_777_216


@pytest.mark.parametrize(
    ("hostname", "partition"), [("host-1", 3), ("host-2", 1), ("хост", 5), ("", 0), ("web-1", 0)]
)
def test_a_host_stays_in_its_partition(hostname: str, partition: int) -> None:
    """What tables and topics hold was put there by an earlier version."""
    assert partition_of(hostname, 8) == partition


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 1000))
def test_every_host_has_a_partition(hostname: str, partitions: int) -> None:
    assert 0 <= partition_of(hostname, partitions) < partitions


def test_hosts_spread_over_all_partitions() -> None:
    sizes = Counter(partition_of(f"host-{number}", 8) for number in range(8000))
    assert len(sizes) == 8
    assert min(sizes.values()) > 800


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("telemetry", True),
        ("A.b_c-9", True),
        ("x" * 249, True),
        ("x" * 250, False),
        ("", False),
        ("a b", False),
        ("тема", False),
        ("a/b", False),
    ],
)
def test_what_kafka_takes_as_a_name(name: str, legal: bool) -> None:
    assert bool(re.fullmatch(LEGAL_TOPIC, name)) is legal
