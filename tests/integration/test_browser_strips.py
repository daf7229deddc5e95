"""Strips of time in a browser: what is too narrow to be seen alone is not left out."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.integration.conftest import Visit
from tests.support.fleet import Fleet
from tests.support.host_history import HOST
from tests.support.host_page import changed, host_path

pytestmark = pytest.mark.any_broker
MINUTES = 24 * 60


def minutes_ago(minutes: float) -> str:
    return f"{datetime.fromtimestamp(time.time() - 60 * minutes, UTC):%FT%TZ}"


def reading(metric: str, value: str, minute: int) -> dict[str, Any]:
    """Of /readings."""
    at = minutes_ago(minute)
    return {
        "metric": metric,
        "value": value,
        "numeric_value": None,
        "observed_at": at,
        "received_at": at,
        "clock_trusted": True,
        "id": f"{metric}/{minute}",
        "config_id": 1,
        "topic": "t",
        "partition": 0,
        "offset": minute,
    }


def test_words_that_change_each_minute_are_seen_all_day(history: Fleet, visit: Visit) -> None:
    words = [
        found
        for minute in range(MINUTES - 1, 0, -1)
        for found in (
            reading("flapping", "active" if minute % 2 else "failed", minute),
            reading("once", "failed" if minute == 700 else "active", minute),
        )
    ]
    visitor = visit(history.worker)
    changed(visitor.page, "Services", "readings", {"readings": words, "next": None})
    page = visitor.open(host_path(range="24h"))
    parts = page.locator(".timeline-row", has_text="flapping").locator("li")
    expect(parts).to_have_count(1)
    expect(parts).to_have_attribute("title", re.compile(r"^active, failed: 1,438 changes · "))
    assert covered(parts) > 0.99
    # What is narrow between what is not stays apart.
    parts = page.locator(".timeline-row", has_text="once").locator("li")
    expect(parts.locator("span:first-child")).to_have_text(["active", "failed", "active"])


def test_all_gaps_of_a_month_are_seen(history: Fleet, visit: Visit) -> None:
    gaps = [
        {"from": minutes_ago(minute), "to": minutes_ago(minute - 2), "missing": 2}
        for minute in range(40, 30 * MINUTES, 40)
    ][::-1]
    visitor = visit(history.worker)
    missing = 2 * len(gaps)
    expected = 30 * MINUTES
    counts = {"completeness": 1 - missing / expected, "expected": expected, "missing": missing}
    since = {"from": minutes_ago(expected), "kept_since": None}
    changed(visitor.page, "Temperature", "completeness", {"gaps": gaps, **counts, **since})
    visitor.page.route(f"**/api/v1/hosts/{HOST}", _each_minute)
    page = visitor.open(host_path(range="30d"))
    strip = page.locator(".strip-row", has_text="Temperature")
    expect(strip.locator(".gaps")).to_have_text(re.compile(rf"^{len(gaps):,} gaps, the longest 2 min"))
    parts = strip.locator(".gap")
    expect(parts.first).to_be_visible()
    assert covered(parts) > 0.99
    # Two of them are narrower than what can be seen.
    assert parts.count() < len(gaps) / 1.5
    titles = [each.get_attribute("title") or "" for each in parts.all()]
    assert sum(int(text.split(": ")[1].split()[0]) for text in titles) == missing


def _each_minute(route: Route) -> None:
    response = route.fetch()
    found = response.json()
    found["plugins"]["Temperature"]["interval_seconds"] = 60
    route.fulfill(response=response, json=found)


def covered(parts: Locator) -> float:
    """How much of their strip is between the first and the last part."""
    share: float = parts.evaluate_all(
        """(all) => {
            const strip = all[0].parentElement.getBoundingClientRect();
            const ends = all.map((each) => each.getBoundingClientRect());
            const [left, right] = [ends.map((each) => each.left), ends.map((each) => each.right)];
            return (Math.max(...right) - Math.min(...left)) / strip.width;
        }"""
    )
    return share
