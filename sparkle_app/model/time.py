"""Times are integers: microseconds since 1970-01-01 UTC. Other units are converted here."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch; a naive one is taken as UTC."""
    return (moment - (_EPOCH if moment.tzinfo else _NAIVE_EPOCH)) // _MICROSECOND


EARLIEST = micros(datetime(2000, 1, 1))
LATEST = micros(datetime(2100, 1, 1))


def moment(at: int) -> datetime:
    """Microseconds since the epoch as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def from_millis(milliseconds: int) -> int:
    """A Kafka timestamp, in milliseconds, as microseconds."""
    return milliseconds * 1000


def to_millis(at: int) -> int:
    """Microseconds as a Kafka timestamp, in milliseconds."""
    return at // 1000


def from_seconds(seconds: float) -> int:
    """Seconds since the epoch, as returned by time.time(), as microseconds."""
    return int(seconds * 1_000_000)


def span(seconds: int) -> int:
    """A duration in seconds as microseconds."""
    return seconds * 1_000_000


def to_seconds(microseconds: int) -> float:
    """A time or a duration in seconds, with the fraction."""
    return microseconds / 1_000_000


def whole_seconds(microseconds: int) -> int:
    """A time or a duration in seconds, rounded down."""
    return microseconds // 1_000_000


def is_plausible(at: int) -> bool:
    """Whether a time is within the years 2000 to 2099: Kafka's timestamp may be missing (-1), or any host's clock."""
    return EARLIEST <= at < LATEST


def rfc3339(at: int) -> str:
    """Microseconds since the epoch as text in UTC, RFC 3339."""
    return moment(at).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> int:
    """Parse a time with its UTC offset (RFC 3339), or a date, which stands for midnight UTC.

    Returns:
        Microseconds since the epoch.

    Raises:
        ValueError: its message is what was expected.
    """
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        text += "T00:00:00Z"
    try:
        # RFC 3339 allows lowercase, too.
        at = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError("a time such as 2026-11-23T12:00:00Z, or a date such as 2026-11-23") from error
    if at.tzinfo is None:
        raise ValueError("a time with its offset from UTC, such as 2026-11-23T12:00:00Z")
    found = micros(at)
    if not EARLIEST <= found <= LATEST:
        raise ValueError("a time between the years 2000 and 2100")
    return found


def utc_text(at: int) -> str:
    """Microseconds since the epoch as ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC."""
    seconds = whole_seconds(at)
    return f"{_second(seconds)}.{at - span(seconds):06}"


@lru_cache(4096)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ")[:19]
