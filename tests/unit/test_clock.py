"""Event time, from the host's local time and the record's timestamp."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.envelope.clock import resolve
from sparkle_app.model.time import micros, moment

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ZONES = [
    "UTC", "Europe/Moscow", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Asia/Kolkata", "Pacific/Chatham",
    "Pacific/Kiritimati", "Pacific/Marquesas", "Australia/Eucla", "America/Los_Angeles", "Asia/Tehran",
]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_local_time_of_any_time_zone_is_converted_to_utc(zone: str) -> None:
    local = NOON.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    latency = timedelta(seconds=2.5)
    assert resolve(local, micros(NOON + latency)) == (micros(NOON), True)


@pytest.mark.parametrize(
    ("instant", "local"),
    [
        # Berlin, 25 October 2026: 02:30 occurs twice, first in summer time, an hour later in winter time.
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, 30)),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, 30)),
    ],
)
def test_the_records_timestamp_resolves_the_repeated_hour(instant: datetime, local: datetime) -> None:
    assert instant.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None) == local
    assert resolve(local, micros(instant) + 400_000) == (micros(instant), True)


@pytest.mark.parametrize(
    "wrong_by",
    [timedelta(minutes=20), timedelta(hours=-15), timedelta(days=30), timedelta(hours=2, minutes=15)],
)
def test_a_clock_without_a_plausible_offset_is_not_trusted(wrong_by: timedelta) -> None:
    received = micros(NOON)
    assert resolve((NOON + wrong_by).replace(tzinfo=None), received) == (received, False)


@pytest.mark.parametrize("wrong_by", [timedelta(minutes=7), timedelta(minutes=-7)])
def test_a_slightly_wrong_clock_is_trusted(wrong_by: timedelta) -> None:
    assert resolve((NOON + wrong_by).replace(tzinfo=None), micros(NOON)) == (micros(NOON + wrong_by), True)


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)), st.integers(-12, 14), st.integers(-400, 400)
)
def test_event_time_differs_from_the_timestamp_by_less_than_half_a_quarter_of_an_hour(
    utc: datetime, hours: int, seconds: int
) -> None:
    received = micros(utc)
    local = utc + timedelta(hours=hours, seconds=seconds)
    assert resolve(local, received) == (received + seconds * 1_000_000, True)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_moment_is_the_inverse_of_micros(naive: datetime) -> None:
    assert moment(micros(naive)) == naive.replace(tzinfo=UTC)
