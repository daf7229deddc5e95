"""Event time: a host's naive local time, resolved to UTC with the broker's timestamp."""

from datetime import datetime

from sparkle_app.model.time import micros

MINUTE = 60_000_000
QUARTER = 15 * MINUTE

# Offsets from UTC that are not whole hours and were local time somewhere since 2000 (IANA time zone database).
_PART_HOURS = {
    (-9, 30), (-4, 30), (-3, 30), (-2, 30), (3, 30), (4, 30), (5, 30), (5, 45), (6, 30), (8, 30), (8, 45), (9, 30),
    (10, 30), (11, 30), (12, 45), (13, 45),
}  # fmt: skip
_UTC_OFFSETS = {hours * 60 * MINUTE for hours in range(-12, 15)} | {
    (hours * 60 + (minutes if hours > 0 else -minutes)) * MINUTE for hours, minutes in _PART_HOURS
}


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
