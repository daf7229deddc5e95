"""Dead letters in a browser: what was sent through Kafka appears with its reason, and can be filtered and opened."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from sparkle_app.model.errors import InvalidRecordError, Reason
from tests.integration.conftest import Visit
from tests.integration.test_dead_letter_commands import produce_more
from tests.support.broker import Broker
from tests.support.browser import LOOKS, axe_script, violations
from tests.support.fleet import Fleet
from tests.support.produce import produce

# The embedded broker does not report the end offsets of a topic.
pytestmark = pytest.mark.kafka
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.send("Temperature", "core/0", {"web-1": 40.0, "web-2": 1e9, HOSTILE: 1e9})
        fleet.send("Fans", "1", {"web-2": 900.0})
        yield fleet


@pytest.fixture
def guarded(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """It has tokens: for readers, and for operators."""
    with Fleet(broker, tmp_path, web__token="look", web__operator_token="operate") as fleet:
        yield fleet


def reasons(page: Page) -> list[str]:
    return sorted(page.locator("table.dead-letters .of-reason").all_inner_texts())


def test_a_dead_letter_appears_with_its_reason(fleet: Fleet, visit: Visit, broker: Broker) -> None:
    page = visit(fleet.worker).open("/dead-letters")
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(3)
    assert reasons(page) == ["Invalid value", "Invalid value", "Unknown plugin"]
    # Without reloading.
    produce(broker.bootstrap, fleet.workspace.topic, [b"junk\xff"])
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(4)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dead letters 4")
    by_reason = page.locator(".card", has=page.get_by_role("heading", name="By reason"))
    lines = by_reason.get_by_role("listitem")
    expect(lines).to_have_count(3)
    # Those with equal numbers are in any order.
    assert sorted(lines.all_text_contents()) == ["Invalid value2", "Not JSON1", "Unknown plugin1"]
    hours = page.locator(".hours li:not([aria-hidden])")
    assert sum(int(each.rpartition(": ")[2]) for each in hours.all_inner_texts()) == 4


def test_filters_are_in_the_url(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/dead-letters")
    page.locator(".counts").get_by_role("link", name="Unknown plugin").click()
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
    assert page.url.endswith("/dead-letters?reason=unknown_plugin")
    expect(page.get_by_label("Reason")).to_have_value("unknown_plugin")
    page.get_by_label("Reason").select_option("Invalid value")
    page.get_by_label("Exact hostname").fill("web-2")
    page.get_by_label("Exact hostname").press("Enter")
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
    assert page.url.endswith("/dead-letters?reason=invalid_value&host=web-2")
    page.reload()
    expect(page.locator("table.dead-letters .of-host")).to_have_text("web-2")
    expect(page.get_by_label("Exact hostname")).to_have_value("web-2")
    page.get_by_label("Exact hostname").fill("nobody")
    page.get_by_label("Exact hostname").press("Enter")
    expect(page.get_by_text("No dead letter matches.")).to_be_visible()
    page.go_back()
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Clear filters").click()
    expect(page.get_by_label("Reason")).to_have_value("")
    assert page.url.endswith("/dead-letters")
    # The worker would refuse to skip so many.
    page.goto("/dead-letters?page=1e9")
    expect(page.locator("table.dead-letters tbody tr").first).to_be_visible()
    expect(page).to_have_url(f"{fleet.worker.url}/dead-letters")


def test_one_dead_letter_says_why_and_what_to_do_and_whether_it_would_be_stored(
    fleet: Fleet, visit: Visit
) -> None:
    page = visit(fleet.worker).open("/dead-letters?host=web-2&reason=unknown_plugin")
    page.locator("table.dead-letters tbody").get_by_role("link").click()
    expect(page.get_by_role("heading", name="It would not be stored now either")).to_be_visible()
    expect(page.get_by_text("No installed plugin has this name.")).to_be_visible()
    expect(page.get_by_text("Install the plugin, restart the workers, then replay.")).to_be_visible()
    facts = dict(
        zip(
            page.locator(".dead-letter dt").all_inner_texts(),
            page.locator(".dead-letter dd").all_inner_texts(),
            strict=True,
        )
    )
    assert facts["Config"] == "1"
    assert facts["Host"].startswith("web-2 as the record says")
    assert re.fullmatch(rf"{fleet.workspace.topic}/\d+/\d+", facts["Topic/partition/offset"])
    # The record was received a moment ago: the day of the host's clock is today.
    assert datetime.fromisoformat(facts["The host's local time"]).tzinfo is None
    assert facts["Payload"].startswith("256 bytes, encrypted")
    page.get_by_text("The whole value, as it was received").click()
    expect(page.locator(".dead-letter pre")).to_contain_text('"payload"')
    assert "900.0" not in page.locator(".dead-letter").inner_text()
    page.get_by_role("link", name="All dead letters").click()
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
    assert page.url.endswith("/dead-letters?host=web-2&reason=unknown_plugin")


def test_a_hostile_hostname_is_text(fleet: Fleet, visit: Visit) -> None:
    """Scripts, and requests for the image, would be faults of the visit."""
    page = visit(fleet.worker).open("/dead-letters")
    row = page.locator("table.dead-letters tbody tr", has_text="onerror")
    expect(row.locator(".of-host")).to_have_text(HOSTILE)
    expect(page.locator(".counts").get_by_text(HOSTILE)).to_be_visible()
    row.get_by_role("link").click()
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    assert page.locator("img").count() == 0


def test_a_dead_letter_that_is_gone_is_said_in_words(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 404"]
    page = visitor.open("/dead-letters?key=telemetry%2F0%2F1")
    expect(page.locator(".note")).to_contain_text(
        "key: expected that of a dead letter, found 'telemetry/0/1'"
    )


def test_every_reason_has_its_words_in_both_languages(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker, locale="ru-RU", viewport={"width": 390, "height": 844}).open("/dead-letters")
    expect(page.get_by_label("Причина").get_by_role("option")).to_have_count(13)
    row = page.locator("table.dead-letters tbody tr", has_text="onerror")
    expect(row.locator(".of-reason")).to_have_text("Недопустимое значение")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_axe_finds_nothing(fleet: Fleet, visit: Visit) -> None:
    for scheme, locale, width in LOOKS:
        visitor = visit(
            fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
        )
        visitor.context.add_init_script(axe_script())
        page = visitor.open("/dead-letters?reason=invalid_value")
        expect(page.locator(".summary")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator(".view-head button").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.locator("table.dead-letters tbody").get_by_role("link").first.click()
        expect(page.locator(".dead-letter pre")).to_have_count(1)
        page.locator(".dead-letter summary").click()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_keyboard_alone_filters_and_opens_one(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/dead-letters")
    link = page.locator(".counts").get_by_role("link", name="Unknown plugin")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
    # It ends the filter, too.
    expect(link).to_be_focused()
    expect(link).to_have_attribute("aria-current", "true")
    page.locator("table.dead-letters tbody").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dead letter ")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)


def test_an_operator_replays_after_a_question_and_sees_the_progress(
    fleet: Fleet, visit: Visit, broker: Broker
) -> None:
    unknown = InvalidRecordError(Reason.UNKNOWN_PLUGIN, "Temperature")
    # Its plugin is installed now.
    records = [fleet.collector.record("replayed", "Temperature", f"core/{n}", 40.0) for n in range(3)]
    produce_more(broker, fleet.workspace, *((1000 + n, record, unknown) for n, record in enumerate(records)))
    page = visit(fleet.worker).open("/dead-letters?host=replayed")
    expect(page.locator("table.dead-letters tbody tr")).to_have_count(3)
    button = page.get_by_role("button", name="Replay these 3 …")
    button.click()
    dialog = page.get_by_role("dialog", name="Replay 3 dead letters?")
    expect(dialog).to_contain_text("Host: replayed")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    dialog.get_by_role("button", name="Replay 3").click()
    done = page.locator(".replay[data-state=finished]")
    expect(done).to_contain_text(
        "3 of 3 produced again. Those that are still invalid remain in the list. Host: replayed"
    )
    expect(page.get_by_text("No dead letter matches.")).to_be_visible()
    expect(button).to_be_hidden()
    _, found = fleet.worker.get("/api/v1/plugins/Temperature/hosts/replayed/readings?from=2023-11-01")
    assert [each["metric"] for each in found["readings"]] == ["core/0", "core/1", "core/2"]


def test_a_reader_is_offered_no_replay(guarded: Fleet, visit: Visit) -> None:
    guarded.send("Temperature", "core/0", {"web-1": 1e9})
    for token, offered in (("look", 0), ("operate", 1)):
        page = visit(guarded.worker).page
        page.goto("/dead-letters")
        page.locator("input[name=token]").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator("table.dead-letters tbody tr")).to_have_count(1)
        expect(page.get_by_role("button", name="Replay all 1 …")).to_have_count(offered)


def test_the_largest_counts_come_first(fleet: Fleet, visit: Visit) -> None:
    """An object lists names that look like numbers in their own order."""
    page = visit(fleet.worker).page
    counts = {"57": 40_000, "12": 5_000, **{str(number): 1 for number in range(3, 11)}}

    def answer(route: Route) -> None:
        response = route.fetch()
        found = response.json() if response.status == 200 else {}
        route.fulfill(response=response, json={**found, "by_config": counts, "configs": 500})

    page.route("**/api/v1/dead-letters?*", answer)
    page.goto("/dead-letters")
    lines = page.locator(".card", has=page.get_by_role("heading", name="By config"))
    expect(lines.get_by_role("listitem").first).to_have_text("5740,000")
    expect(lines.get_by_role("listitem").nth(1)).to_have_text("125,000")
    expect(lines.locator(".more")).to_contain_text("492")


def test_nothing_is_replayed_that_was_not_counted(guarded: Fleet, visit: Visit) -> None:
    guarded.send("Temperature", "core/0", {"web-1": 1e9, "web-2": 1e9})
    visitor = visit(guarded.worker)
    page = visitor.page
    page.goto("/login")
    page.get_by_label("Token").fill("operate")
    page.get_by_role("button").click()
    page.goto("/dead-letters?host=web-2")
    button = page.get_by_role("button", name="Replay")
    expect(button).to_have_text("Replay this 1 …")
    expect(button).to_be_enabled()

    def hold(_route: Route) -> None:
        """Until the route ends, the response with the number of all of them does not come."""

    page.route("**/api/v1/dead-letters?limit=50", hold)
    page.get_by_role("link", name="Clear filters").click()
    expect(button).to_be_disabled()
    page.unroute("**/api/v1/dead-letters?limit=50")
    expect(button).to_have_text("Replay all 2 …")
    expect(button).to_be_enabled()
