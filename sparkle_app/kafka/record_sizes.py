"""How much memory records take: whoever can produce to a topic may send few large ones, or very many small ones."""

from dataclasses import replace
from typing import Any

MAX_RECORD_BYTES = 1024 * 1024
"""Of a record of a plugin topic, with its key and headers: what Kafka accepts by default if it is not compressed."""
UNIT_BYTES = 4096
"""A record that is larger counts as several, so that each limit of a number of records limits their bytes as well.
Those of collectors are smaller."""
# Of a header, as objects, in addition to its name and content.
_HEADER_BYTES = 150


def weight(record: Any) -> int:
    """As how many records a record of aiokafka counts."""
    return 1 + _size(record) // UNIT_BYTES


def limited(record: Any) -> Any:
    """The record, without its key, value and headers if it is larger than :data:`MAX_RECORD_BYTES`."""
    return replace(record, key=None, value=None, headers=()) if _size(record) > MAX_RECORD_BYTES else record


def _size(record: Any) -> int:
    size = len(record.key or b"") + len(record.value or b"")
    # Called several times for each record, and most have none.
    if record.headers:
        size += sum(len(name) + len(content or b"") + _HEADER_BYTES for name, content in record.headers)
    return size
