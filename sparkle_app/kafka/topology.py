"""Names of the handler's own topics, and the partition that a host belongs to."""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Bytes of a message in the handler's own topics: a dead letter is a little larger than the largest record, and the
samples of a batch with long names are more than a broker's usual megabyte."""
LEGAL_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka accepts as a topic's name."""


def samples_topic(app_id: str, plugin: str) -> str:
    """Carries a plugin's stored readings from the ingest stage to the aggregate stage."""
    return f"{app_id}-{plugin}-samples"


def dead_letter_topic(app_id: str) -> str:
    """Holds the records that cannot be readings, as they came."""
    return f"{app_id}-dead-letters"


def table_name(plugin: str, resolution: int) -> str:
    """The Faust table of a plugin's buckets of ``resolution`` seconds; buckets of two lengths must never mix."""
    return f"{plugin}-{resolution}s"


def changelog_topic(app_id: str, plugin: str, resolution: int) -> str:
    """The changelog that Faust keeps for :func:`table_name`."""
    return f"{app_id}-{table_name(plugin, resolution)}-changelog"


@dataclass(frozen=True)
class TopicSpec:
    """A topic that a worker needs."""

    name: str
    configs: dict[str, str]
    """Given to the broker when the topic is created."""
    by_host: bool = False
    """Whether a host has its partition in it: all such topics need the same number of partitions."""


def topic_specs(
    app_id: str, plugin_topics: Iterable[str], plugins: Iterable[str], resolution: int
) -> list[TopicSpec]:
    """All topics that a worker needs.

    Arguments:
        plugin_topics: where collectors send to.
        plugins: the NAMEs of the installed plugins.
        resolution: length of a bucket, seconds.
    """
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    compacted = {**large, "cleanup.policy": "compact"}
    names = list(plugins)
    return [
        # The broker's time cannot be wrong with the host's clock.
        *(TopicSpec(name, {"message.timestamp.type": "LogAppendTime"}) for name in plugin_topics),
        TopicSpec(dead_letter_topic(app_id), compacted),
        *(TopicSpec(samples_topic(app_id, name), large, by_host=True) for name in names),
        *(TopicSpec(changelog_topic(app_id, name, resolution), compacted, by_host=True) for name in names),
    ]


def partition_of(hostname: str, partitions: int) -> int:
    """The partition of samples topic, changelog and table in which a host lives."""
    return zlib.crc32(hostname.encode()) % partitions
