"""Instants: microseconds since 1970-01-01 UTC, as integers."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch; a naive one is read as UTC."""
    return (moment - (_EPOCH if moment.tzinfo else _NAIVE_EPOCH)) // _MICROSECOND


def moment(at: int) -> datetime:
    """Microseconds since the epoch as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def utc_text(at: int) -> str:
    """Microseconds since the epoch as ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC."""
    seconds, rest = divmod(at, 1_000_000)
    return f"{_second(seconds)}.{rest:06}"


@lru_cache(4096)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ")[:19]
