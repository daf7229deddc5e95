"""Conversion of times to and from microseconds since the epoch."""

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from sparkle_app.cli.options import Instant
from sparkle_app.model.time import (
    from_millis,
    from_seconds,
    is_plausible,
    micros,
    moment,
    parse_instant,
    rfc3339,
    span,
    to_millis,
    to_seconds,
    utc_text,
    whole_seconds,
)

NOON = micros(datetime(2026, 11, 23, 12, tzinfo=UTC))


def test_units_are_converted() -> None:
    assert from_millis(1_764_000_000_123) == 1_764_000_000_123_000
    assert to_millis(1_764_000_000_123_999) == 1_764_000_000_123
    assert to_millis(-1) == -1
    assert from_seconds(1.5) == 1_500_000
    assert span(60) == 60_000_000
    assert to_seconds(-1_500_000) == -1.5
    assert [whole_seconds(at) for at in (-1, 0, 1_999_999)] == [-1, 0, 1]
    assert rfc3339(NOON) == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize(("year", "expected"), [(2000, True), (2026, True), (2100, False)])
def test_a_time_of_this_century_is_plausible(year: int, expected: bool) -> None:
    start = micros(datetime(year, 1, 1, tzinfo=UTC))
    assert (is_plausible(start), is_plausible(start - 1)) == (expected, year != 2000)
    assert rfc3339(NOON + 250_000) == "2026-11-23T12:00:00.250000Z"


@pytest.mark.parametrize(
    "text", ["2026-11-23T12:00:00Z", "2026-11-23T15:00:00+03:00", "2026-11-23T11:30:00-00:30"]
)
def test_a_time_with_an_offset_is_parsed(text: str) -> None:
    assert parse_instant(text) == NOON
    assert Instant().convert(text, None, None) == NOON


@pytest.mark.parametrize("text", ["2000-01-01", "2100-01-01", "2100-01-01T00:00:00Z"])
def test_the_first_and_the_last_instant_are_within_bounds(text: str) -> None:
    assert parse_instant(text) == micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_a_naive_datetime_is_read_as_utc() -> None:
    assert micros(datetime(1970, 1, 1, 0, 0, 1, 5)) == 1_000_005
    assert isinstance(micros(datetime(1970, 1, 1)), int)
    assert micros(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0
    assert moment(1_000_005) == datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "at", [0, 5, 999_999, 1_000_000, NOON, NOON + 250_000, NOON + 999_999, 4_102_444_800_000_000]
)
def test_text_in_utc_has_six_digits_and_sorts_as_the_instants_do(at: int) -> None:
    assert utc_text(at) == moment(at).strftime("%Y-%m-%d %H:%M:%S.%f")


def test_a_date_is_midnight_utc() -> None:
    assert parse_instant("2026-11-23") == NOON - span(12 * 3600)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00", "a time with its offset from UTC, such as 2026-11-23T12:00:00Z"),
        ("2026-11-23 12:00", "a time with its offset from UTC, such as 2026-11-23T12:00:00Z"),
        ("yesterday", "a time such as 2026-11-23T12:00:00Z, or a date such as 2026-11-23"),
        ("1999-12-31", "a time between the years 2000 and 2100"),
        ("2100-01-01T00:00:00.000001Z", "a time between the years 2000 and 2100"),
        ("1999-12-31T23:59:59.999999Z", "a time between the years 2000 and 2100"),
        # No year that a datetime can hold is too much for the arithmetic.
        ("0001-01-01T00:00:00+23:59", "a time between the years 2000 and 2100"),
        ("9999-12-31T23:59:59.999999-23:59", "a time between the years 2000 and 2100"),
    ],
)
def test_an_invalid_time_is_rejected_and_the_error_states_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_instant(text)
    with pytest.raises(click.BadParameter) as caught:
        Instant().convert(text, None, None)
    assert str(caught.value) == f"expected {expected}, found {text!r}"
