"""The pipeline in a browser: workers, what they consume, and in words why something is late."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import LOOKS, assert_does_not_grow, axe_script, violations
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.produce import produce
from tests.support.worker import Worker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def fleet(broker: Broker, folder: Path) -> Iterator[Fleet]:
    with Fleet(broker, folder) as fleet:
        fleet.send("Temperature", "core/0", {f"host-{number}": 40.0 for number in range(9)})
        fleet.wait_for(9)
        yield fleet


@pytest.fixture
def second(fleet: Fleet, broker: Broker, folder: Path) -> Iterator[Worker]:
    environment = fleet.workspace.environment(broker.bootstrap, f"sqlite:///{folder / 'readings.sqlite3'}")
    worker = Worker(environment, folder / "worker-2.log")
    try:
        worker.start()
        worker.wait_ready()
        yield worker
    finally:
        worker.close()


def card(page: Page, worker: Worker) -> Locator:
    return page.locator(f'.worker[data-worker="{worker.url}/"], .worker[data-worker="{worker.url}"]')


def state_of(worker: Worker) -> dict[str, Any]:
    found: dict[str, Any] = worker.get("/api/v1/pipeline")[1]
    return found


def cells(row: Locator) -> list[str]:
    return row.locator("th, td").all_inner_texts()


@pytest.mark.any_broker
def test_a_worker_its_partitions_and_its_delays_are_shown(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/pipeline")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pipeline 1 worker")
    expect(page.locator(".verdict li")).to_have_text(["No records are waiting."])
    worker = card(page, fleet.worker)
    expect(worker.locator(".state")).to_have_text("Consuming")
    topic = worker.get_by_role("row", name=fleet.workspace.topic + " records")
    # The embedded broker does not say that a partition is empty.
    assert re.fullmatch(r"0–3 0( .*)?", " ".join(cells(topic)[2:]))
    plugin = worker.get_by_role("row", name="Temperature 0–3")
    row, answer = cells(plugin)[3:]
    assert row.endswith(" s")
    assert answer.endswith(" s")
    expect(worker.locator("dl div", has_text="Readings stored")).to_have_text("Readings stored9")
    stage = page.locator('.stages [data-stage="store"]')
    expect(stage).to_contain_text("Insert readings into SQL")
    # From the second response on.
    expect(stage.locator(".of-share .number")).to_have_text("0\u00a0%")
    # A live change follows.
    fleet.send("Temperature", "core/1", {f"host-{number}": 41.0 for number in range(9)})
    expect(worker.locator("dl div", has_text="Readings stored")).to_have_text("Readings stored18")


@pytest.mark.any_broker
def test_what_takes_two_responses_is_said_to_be_measured(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).page
    # The second response is asked for when the clock moves on.
    page.clock.install()
    page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=5))
    page.goto("/pipeline")
    tile = page.locator(".tile", has_text="Readings stored per second").locator("b")
    rate = card(page, fleet.worker).get_by_role("row", name="Temperature 0–3").locator("td").nth(1)
    share = page.locator('.stages [data-stage="store"] .of-share')
    expect(tile).to_have_text("measuring …")
    expect(rate).to_have_text("measuring …")
    expect(page.get_by_text("Being measured: the first values appear in a few seconds.")).to_be_visible()
    expect(share.locator(".number")).to_have_text("")
    expect(share.locator(".bar")).to_be_hidden()
    first = state_of(fleet.worker)["made_at"]
    eventually(lambda: state_of(fleet.worker)["made_at"], lambda made_at: made_at != first)
    page.clock.run_for(8000)
    expect(tile).to_have_text("0.0")
    expect(rate).to_have_text("0.0")
    expect(share.locator(".number")).to_have_text("0\u00a0%")
    expect(share.locator(".bar")).to_be_visible()
    expect(page.get_by_text("Averages of all workers over the last seconds.")).to_be_visible()


@pytest.mark.any_broker
def test_the_workers_are_shown_without_the_database(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).page
    # However long the test takes.
    page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")
    held: list[Route] = []

    def hold(request: Route) -> None:
        held.append(request)

    page.route("**/api/v1/hosts?*", hold)
    page.goto("/pipeline")
    expect(card(page, fleet.worker).locator(".state")).to_have_text("Consuming")
    expect(page.locator(".tile b").first).to_have_text("0.0")
    expect(page.locator(".clocks")).to_be_hidden()
    (request,) = held
    request.continue_()
    expect(page.get_by_text("No host has a wrong clock")).to_be_visible()


@pytest.mark.any_broker
def test_a_host_with_a_wrong_clock_is_listed_with_its_offset(
    fleet: Fleet, visit: Visit, broker: Broker
) -> None:
    page = visit(fleet.worker).open("/pipeline")
    expect(page.get_by_text("No host has a wrong clock")).to_be_visible()
    name = "<i>ahead</i>"
    ahead = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=3, minutes=1)
    record = fleet.collector.record(name, "Temperature", "core/0", 40.0, ahead)
    produce(broker.bootstrap, fleet.workspace.topic, [record])
    eventually(
        lambda: fleet.worker.get("/api/v1/hosts?clock=untrusted"),
        lambda found: [each["host"] for each in found[1]["hosts"]] == [name],
    )
    page.reload()
    section = page.locator(".clocks")
    expect(section.get_by_role("heading")).to_have_text("1 host with a wrong clock")
    row = section.locator("tbody tr")
    expect(row.get_by_role("link")).to_have_text(name)
    expect(row).to_contain_text("Temperature")
    expect(row).to_contain_text("3 d ahead")


@pytest.mark.any_broker
def test_a_locked_database_is_named_as_what_is_waited_for(fleet: Fleet, visit: Visit, folder: Path) -> None:
    page = visit(fleet.worker).open("/pipeline")
    connection = sqlite3.connect(folder / "readings.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    fleet.send("Temperature", "core/2", {"host-1": 42.0})
    sentence = page.locator(".verdict li").first
    expect(sentence).to_contain_text("“Insert readings into SQL”", timeout=60_000)
    assert sentence.get_attribute("data-state") in {"critical", "warning"}
    expect(page.locator('.stages [data-stage="store"] td').last).not_to_have_text("–")
    connection.rollback()
    connection.close()
    expect(sentence).to_contain_text("No records are waiting", timeout=60_000)


@pytest.mark.kafka
def test_a_killed_worker_is_said_and_then_has_left(fleet: Fleet, second: Worker, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    # The clock of the browser is an hour behind.
    visitor.context.add_init_script("const { now } = Date; Date.now = () => now() - 3_600_000;")
    page = visitor.open("/pipeline")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pipeline 2 workers")
    expect(card(page, second).locator(".state")).to_have_text("Consuming")
    second.kill()
    expect(page.locator(".verdict li", has_text=second.url)).to_contain_text("does not answer")
    expect(card(page, second).locator(".state")).to_have_text("Does not answer")
    # After the rebalance.
    gone = page.locator(".gone li")
    expect(gone).to_contain_text("has left the group", timeout=60_000)
    expect(gone.locator("time")).to_have_text(re.compile(r"^\d+ s ago$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Pipeline 1 worker")
    expect(card(page, second)).to_have_count(0)
    expect(page.locator(".verdict li")).to_contain_text("No records are waiting", timeout=60_000)


@pytest.mark.any_broker
def test_axe_finds_nothing_and_a_page_that_is_left_open_does_not_grow(fleet: Fleet, visit: Visit) -> None:
    for scheme, locale, width in LOOKS:
        visitor = visit(
            fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
        )
        visitor.context.add_init_script(axe_script())
        page = visitor.open("/pipeline")
        expect(page.locator(".worker dl")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert_does_not_grow(visit(fleet.worker).open("/pipeline"))
