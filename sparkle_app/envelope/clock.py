"""Event time, derived from a host's naive local time and the record's timestamp."""

from datetime import datetime

from sparkle_app.model.time import micros, span

MINUTE = span(60)
QUARTER = 15 * MINUTE

# UTC offsets, other than whole hours, that have been in use anywhere since 2000 (IANA time zone database).
_PART_HOURS = {
    (-9, 30), (-4, 30), (-3, 30), (-2, 30), (3, 30), (4, 30), (5, 30), (5, 45), (6, 30), (8, 30), (8, 45), (9, 30),
    (10, 30), (11, 30), (12, 45), (13, 45),
}  # fmt: skip
_UTC_OFFSETS = {hours * 60 * MINUTE for hours in range(-12, 15)} | {
    (hours * 60 + (minutes if hours > 0 else -minutes)) * MINUTE for hours, minutes in _PART_HOURS
}


def resolve(local: datetime, received_at: int) -> tuple[int, bool]:
    """Convert a host's naive ``local`` time to event time.

    The difference from ``received_at``, rounded to a quarter of an hour, is taken as the host's UTC offset. If no
    region uses that offset, the clock is not trusted. A clock that is wrong by less than 7.5 minutes is therefore taken
    as it is. A clock that is wrong by whole hours cannot be distinguished from one in another time zone, nor can a
    record that reached the broker hours late.

    Returns:
        The event time, and whether the host's clock is trusted. If it is not, the event time is ``received_at``.
    """
    local_at = micros(local)
    offset = round((local_at - received_at) / QUARTER) * QUARTER
    return (local_at - offset, True) if offset in _UTC_OFFSETS else (received_at, False)
