from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from sparkle_app.model.time import LATEST
from sparkle_app.web.api.parameters import cursor, cursor_of, duration, instant, integer, read, repeated, text
from sparkle_app.web.problems import Problem

ALL = (
    duration("window", ""),
    instant("from", ""),
    integer("limit", "", 1000),
    text("metric", ""),
    cursor("after", ""),
)


def parsed(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {name: value for name, value in read(MultiDict(pairs), ALL).items() if value is not None}


@pytest.mark.parametrize(
    ("given", "seconds"), [("900", 900), ("90s", 90), ("15m", 900), ("1h", 3600), ("1", 1), ("1d", 86_400)]
)
def test_a_duration_is_parsed_to_seconds(given: str, seconds: int) -> None:
    assert parsed(("window", given)) == {"window": seconds}


@pytest.mark.parametrize(
    "given",
    [
        "2026-11-23T12:00:00Z",
        "2026-11-23T15:00:00+03:00",
        "2026-11-23T15:00:00 03:00",
        "2026-11-23T12:00:00.000Z",
        "2026-11-23t12:00:00z",
        "2026-11-23t15:00:00 03:00",
    ],
)
def test_a_time_is_parsed_to_microseconds(given: str) -> None:
    expected = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1_000_000)
    assert parsed(("from", given)) == {"from": expected}


def test_a_date_is_midnight_utc() -> None:
    expected = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1_000_000)
    assert parsed(("from", "2026-11-23")) == {"from": expected}


def test_an_absent_parameter_is_none() -> None:
    assert read(MultiDict(), ALL) == dict.fromkeys(("window", "from", "limit", "metric", "after"))


def test_a_parameter_may_be_given_several_times_if_it_is_declared_so() -> None:
    metrics = [repeated(text("metric", ""))]
    assert read(MultiDict([("metric", "b"), ("metric", "a")]), metrics) == {"metric": ["b", "a"]}
    assert read(MultiDict(), metrics) == {"metric": None}
    with pytest.raises(Problem) as caught:
        read(MultiDict([("metric", "a")] * 101), metrics)
    assert caught.value.detail == "metric: expected at most 100 values, found 101"


def test_a_text_may_contain_any_characters() -> None:
    assert parsed(("metric", "coretemp/Core 0 😀")) == {"metric": "coretemp/Core 0 😀"}


def test_a_cursor_is_parsed() -> None:
    position = 1_700_000_000_000_000, bytes(range(16))
    assert cursor_of(*position) == "1700000000000000-000102030405060708090a0b0c0d0e0f"
    assert parsed(("after", cursor_of(*position))) == {"after": position}


@pytest.mark.parametrize(
    ("pairs", "detail"),
    [
        ([("windw", "1")], "windw: expected a known parameter; did you mean window?"),
        ([("window", "1"), ("window", "2")], "window: expected one value, found 2"),
        ([("window", "")], "window: expected seconds, or a duration such as 90s, 15m, 1h, 1d, found ''"),
        ([("window", "0")], "window: expected seconds"),
        ([("window", "-5")], "window: expected seconds"),
        ([("window", "1w")], "window: expected seconds"),
        ([("window", "١٥")], "window: expected seconds"),
        ([("window", "15m\n")], "window: expected seconds"),
        (
            [("from", "yesterday")],
            "from: expected a time such as 2026-11-23T12:00:00Z, or a date such as 2026-11-23, found 'yesterday'",
        ),
        ([("from", "2026-02-30")], "from: expected a time such as"),
        ([("from", "1999-01-01")], "from: expected a time between the years 2000 and 2100"),
        ([("from", "2026-11-23T12:00:00")], "from: expected a time with its offset"),
        ([("from", "0001-01-01T00:00:00+14:00")], "from: expected a time between the years 2000 and 2100"),
        ([("from", "9999-12-31T23:59:59-14:00")], "from: expected a time between the years 2000 and 2100"),
        ([("limit", "0")], "limit: expected an integer from 1 to 1000, found '0'"),
        ([("limit", "1001")], "limit: expected an integer"),
        ([("limit", "1e3")], "limit: expected an integer"),
        ([("metric", "a\0b")], "metric: expected a text without NUL characters"),
        ([("after", "x")], "after: expected the `next` value of the previous page"),
        (
            [("after", f"9999999999999999-{'0' * 32}")],
            "after: expected the `next` value of the previous page",
        ),
        ([("after", "1700000000000000-999999")], "after: expected the `next` value of the previous page"),
        ([("after", f"1-{'0' * 31}")], "after: expected the `next` value of the previous page"),
        ([("after", f"1-{'A' * 32}")], "after: expected the `next` value of the previous page"),
    ],
)
def test_an_invalid_parameter_is_one_clear_line(pairs: list[tuple[str, str]], detail: str) -> None:
    with pytest.raises(Problem) as caught:
        parsed(*pairs)
    assert caught.value.status == 400
    assert caught.value.detail.startswith(detail)


def test_what_takes_no_parameters_says_so() -> None:
    with pytest.raises(Problem) as caught:
        read(MultiDict([("window", "1")]), ())
    assert (caught.value.status, caught.value.detail.partition(":")[0]) == (400, "window")


@pytest.mark.parametrize("given", ["1", "999", "1000", "0007"])
def test_a_number_is_within_its_bounds(given: str) -> None:
    assert parsed(("limit", given)) == {"limit": int(given)}


@given(st.sampled_from([each.name for each in ALL]), st.text() | st.from_regex(r"[0-9smhTZ:+. -]{1,30}"))
def test_whatever_is_given_is_a_value_or_one_line_that_names_the_parameter(name: str, value: str) -> None:
    found: dict[str, Any] = {}
    error: Problem | None = None
    try:
        found = parsed((name, value))
    except Problem as problem:
        error = problem
    if error:
        assert (error.status, found) == (400, {})
        assert error.detail.startswith(f"{name}: expected ")
        assert len(error.detail.splitlines()) == 1
        assert len(error.detail) < 600
    else:
        assert found.keys() == {name}
        bounds = {"window": 3600 * 999_999, "limit": 1000, "from": LATEST}
        assert name not in bounds or 0 < found[name] <= bounds[name]
