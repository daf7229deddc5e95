"""Conversion of times to and from microseconds since the epoch."""

from datetime import UTC, datetime

import click
import pytest

from sparkle_app.cli.base import Instant
from sparkle_app.model.time import from_millis, from_seconds, micros, parse_instant, rfc3339, span, to_millis

NOON = micros(datetime(2026, 11, 23, 12, tzinfo=UTC))


def test_units_are_converted() -> None:
    assert from_millis(1_764_000_000_123) == 1_764_000_000_123_000
    assert to_millis(1_764_000_000_123_999) == 1_764_000_000_123
    assert to_millis(-1) == -1
    assert from_seconds(1.5) == 1_500_000
    assert span(60) == 60_000_000
    assert rfc3339(NOON) == "2026-11-23T12:00:00Z"
    assert rfc3339(NOON + 250_000) == "2026-11-23T12:00:00.250000Z"


@pytest.mark.parametrize(
    "text", ["2026-11-23T12:00:00Z", "2026-11-23T15:00:00+03:00", "2026-11-23T11:30:00-00:30"]
)
def test_a_time_with_an_offset_is_parsed(text: str) -> None:
    assert parse_instant(text) == NOON
    assert Instant().convert(text, None, None) == NOON


def test_a_date_is_midnight_utc() -> None:
    assert parse_instant("2026-11-23") == NOON - span(12 * 3600)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00", "a time with its offset from UTC, such as 2026-11-23T12:00:00Z"),
        ("2026-11-23 12:00", "a time with its offset from UTC, such as 2026-11-23T12:00:00Z"),
        ("yesterday", "a time such as 2026-11-23T12:00:00Z, or a date such as 2026-11-23"),
        ("1999-12-31", "a time between the years 2000 and 2100"),
        ("0001-01-01T00:00:00+23:00", "a time between the years 2000 and 2100"),
    ],
)
def test_an_invalid_time_is_rejected_and_the_error_states_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_instant(text)
    with pytest.raises(click.BadParameter) as caught:
        Instant().convert(text, None, None)
    assert str(caught.value) == f"expected {expected}, found {text!r}"
