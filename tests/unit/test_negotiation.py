"""Which requests are answered with CSV."""

import time

import pytest

from sparkle_app.web.negotiation import prefers_csv


@pytest.mark.parametrize(
    "accept",
    [
        ["text/csv"],
        ["TEXT/CSV; header=present"],
        ["text/csv; charset=utf-8; q=0.1"],
        ["text/*"],
        ["text/csv, */*"],
        ["*/*", "text/csv"],
        ["application/json;q=0.8, text/csv;q=0.9"],
        ["application/json;q=0, */*;q=0.1"],
        ['text/csv;note="a,b;q=0"'],
        ["text/csv, application/json;q=2"],
        ["text/html, text/csv;q=0.5, */*;q=0.4"],
    ],
)
def test_csv_is_preferred(accept: list[str]) -> None:
    assert prefers_csv(accept)


@pytest.mark.parametrize(
    "accept",
    [
        [],
        [""],
        ["*/*"],
        ["application/json"],
        ["text/csv, application/json"],
        ["application/json, text/csv"],
        ["text/csv;q=0"],
        ["text/csv;q=0, text/*"],
        ["text/csv;q=0.3, */*;q=0.4"],
        ["text/csv;q=high"],
        ["text/csv;q=1.5"],
        ["text/csv-schema"],
        ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        ["application/xml"],
        [", ;; /,"],
    ],
)
def test_json_is_preferred(accept: list[str]) -> None:
    assert not prefers_csv(accept)


def test_a_long_header_takes_no_long_time() -> None:
    # The server accepts headers of up to 8 KB; a pattern that backtracks would need minutes.
    began = time.thread_time()
    found = [
        prefers_csv([text])
        for text in (
            "text/csv" + ";" * 8000,
            'text/csv;a="' + "\\" * 8000,
            "text/csv;" + "a" * 8000 + "=" * 9,
        )
    ]
    assert found == [True, True, True]
    assert time.thread_time() - began < 5
