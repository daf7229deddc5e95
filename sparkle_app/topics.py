"""Names of the handler's own topics, and the partition that a host belongs to."""

import re
import zlib

LARGEST_MESSAGE = 16 * 1024 * 1024
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


def partition_of(hostname: str, partitions: int) -> int:
    """The partition of samples topic, changelog and table in which a host lives."""
    return zlib.crc32(hostname.encode()) % partitions
