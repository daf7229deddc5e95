"""Names of the handler's own topics, and the partition of a host."""

import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Maximum size of a message in the handler's own topics. A dead letter is slightly larger than the largest record, and
the samples of a batch with long names exceed Kafka's default of 1 MB."""
CLEANUP_POLICY = "cleanup.policy"
"""The setting of a topic that says whether its messages are deleted by age, or by newer ones with the same key."""
MIN_MESSAGE_BYTES = 128 * 1024
"""The smallest maximum size with which the handler works. It splits samples, and leaves records out of dead letters."""
LEGAL_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka accepts as the name of a topic."""
_LEGAL_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")
_SLUG_CHARACTERS = 20


def legal_name(plugin: str) -> str:
    """The NAME of a plugin as a part of the names of topics and tables.

    A NAME with other characters than these names may have, or a long one, gets a hash, so that the result is unique.
    """
    if _LEGAL_NAME.fullmatch(plugin):
        return plugin
    slug = re.sub(r"[^A-Za-z0-9]+", "_", plugin).strip("_")[:_SLUG_CHARACTERS] or "plugin"
    return f"{slug}_{hashlib.sha256(plugin.encode()).hexdigest()[:8]}"


def samples_topic(app_id: str, plugin: str) -> str:
    """The topic of the samples from ingest agents to the aggregate agent of a plugin."""
    return f"{app_id}-{legal_name(plugin)}-samples"


def dead_letter_topic(app_id: str) -> str:
    """The topic of dead letters."""
    return f"{app_id}-dead-letters"


def table_name(plugin: str, bucket_size: int) -> str:
    """The bucket table of a plugin. Its name contains the bucket size: buckets of two sizes must never mix."""
    return f"{legal_name(plugin)}-{bucket_size}s"


def changelog_topic(app_id: str, plugin: str, bucket_size: int) -> str:
    """The changelog topic in which Faust keeps the table of :func:`table_name`."""
    return f"{app_id}-{table_name(plugin, bucket_size)}-changelog"


@dataclass(frozen=True)
class TopicSpec:
    """A topic that a worker needs."""

    name: str
    configs: dict[str, str]
    """Topic configuration to create it with."""
    by_host: bool = False
    """Whether it is partitioned by host. All such topics need the same number of partitions."""


def topic_specs(
    app_id: str, plugin_topics: Iterable[str], plugins: Iterable[str], bucket_size: int
) -> list[TopicSpec]:
    """All topics that a worker needs.

    Arguments:
        plugin_topics: the topics that collectors produce to.
        plugins: the NAMEs of the installed plugins.
        bucket_size: in seconds.
    """
    # The broker's timestamps depend neither on the clocks of hosts nor on those of workers.
    timestamps = {"message.timestamp.type": "LogAppendTime"}
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES), **timestamps}
    compacted = {**large, CLEANUP_POLICY: "compact"}
    # Samples have no key, so a compacted topic would refuse them.
    samples = {**large, CLEANUP_POLICY: "delete"}
    names = list(plugins)
    return [
        *(TopicSpec(name, timestamps) for name in plugin_topics),
        TopicSpec(dead_letter_topic(app_id), compacted),
        *(TopicSpec(samples_topic(app_id, name), samples, by_host=True) for name in names),
        *(TopicSpec(changelog_topic(app_id, name, bucket_size), compacted, by_host=True) for name in names),
    ]


def partition_of(hostname: str, partitions: int) -> int:
    """The partition of a host in samples topics, changelog topics and bucket tables."""
    return zlib.crc32(hostname.encode()) % partitions
