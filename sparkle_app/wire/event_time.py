"""Event time: a host's naive local time, resolved to UTC with the broker's timestamp.

All instants are integers: microseconds since 1970-01-01 UTC.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
MINUTE = 60_000_000
QUARTER = 15 * MINUTE
EARLIEST = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000

# Offsets from UTC that are not whole hours and were local time somewhere since 2000 (IANA time zone database).
_PART_HOURS = {
    (-9, 30), (-4, 30), (-3, 30), (-2, 30), (3, 30), (4, 30), (5, 30), (5, 45), (6, 30), (8, 30), (8, 45), (9, 30),
    (10, 30), (11, 30), (12, 45), (13, 45),
}  # fmt: skip
_UTC_OFFSETS = {hours * 60 * MINUTE for hours in range(-12, 15)} | {
    (hours * 60 + (minutes if hours > 0 else -minutes)) * MINUTE for hours, minutes in _PART_HOURS
}


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


def resolve(local: datetime, received_at: int) -> tuple[int, bool]:
    """The instant that a host's naive ``local`` time means.

    The difference to ``received_at``, rounded to a quarter of an hour, is the host's offset from UTC. Where no place on
    earth has that offset, the clock is not believed. So a clock that is wrong by less than 7.5 minutes is taken as it
    is; and one that is wrong by whole hours, or a record that reached the broker hours late, looks like another zone.

    Returns:
        The event time, and whether the host's clock was believed; if not, the event time is ``received_at``.
    """
    local_at = micros(local)
    offset = round((local_at - received_at) / QUARTER) * QUARTER
    return (local_at - offset, True) if offset in _UTC_OFFSETS else (received_at, False)
