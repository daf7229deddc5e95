"""What the pipeline says in a browser about responses of /api/v1/pipeline: rates, and the bottleneck."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.fleet import Fleet

pytestmark = pytest.mark.any_broker


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def test_rates_are_those_of_the_snapshots_not_of_their_arrivals(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/pipeline")
    # The second one is asked for twice before there is another, the fourth one soon after the third.
    assert rates(page, (0, 0), (5, 500), (5, 500), (12, 1200), (12.5, 1450)) == [[100, 100, 500], 1450 / 12.5]
    # Another worker, whose clock is behind, answers.
    assert rates(page, (5, 500), (3, 400), (8, 900)) == [[None, 100], 100]


def rates(page: Page, *responses: tuple[float, float]) -> Any:
    """The rates from each response to the next, and the average.

    Arguments:
        responses: when it was made, in seconds, and the number of readings since the start.
    """
    return page.evaluate(
        """async (responses) => {
            const url = new URL("pipeline_history.js", document.querySelector("script[type=module]").src);
            const { PipelineHistory } = await import(url);
            const history = new PipelineHistory();
            responses.forEach((each) => history.add(each));
            const readings = (state) => state.readings.P;
            return [history.rates(readings), history.rate(readings)];
        }""",
        [
            response(readings, 0) | {"made_at": f"2026-12-01T10:00:{seconds:06.3f}Z"}
            for seconds, readings in responses
        ],
    )


def test_the_bottleneck_is_named(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/pipeline")

    def sentences(*responses: dict[str, Any]) -> list[str]:
        """What the page says after responses that are five seconds apart."""
        found: list[str] = page.evaluate(
            """async (responses) => {
                const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
                const { PipelineHistory } = await import(url("pipeline_history.js"));
                const { verdict } = await import(url("components/verdict.js"));
                const history = new PipelineHistory();
                responses.forEach((each, index) =>
                    history.add({ ...each, made_at: new Date(5000 * index).toISOString() }));
                return verdict(responses.at(-1), history).map(({ state, text }) => `${state}: ${text}`);
            }""",
            list(responses),
        )
        return found

    assert sentences(response(0, 0)) == ["ok: No records are waiting."]
    assert sentences(response(0, 500)) == ["ok: 500 records are not stored yet."]
    assert sentences(response(0, 500), response(500, 500)) == [
        "ok: Nothing is late: 500 records are in progress, about 5 s of work."
    ]
    old = response(500, 500)
    old["workers"][0]["row_delay_seconds"] = {"P": 40.0}
    assert sentences(response(0, 600), old)[0].startswith(
        "warning: 500 records are waiting: about 5 s at 100 readings"
    )
    # 100 readings a second, 4 of 5 seconds in the database.
    late = [response(500 * each, 9000 - 500 * each, store=4.0 * each) for each in range(4)]
    assert sentences(*late) == [
        "warning: 7,500 records are waiting: about 1 min at 100 readings per second."
        " The bottleneck is the stage “Insert readings into SQL”, with 80 % of the time."
    ]
    growing = [response(500 * each, 9000 + 500 * each, store=4.0 * each) for each in range(4)]
    assert "10,500 records are waiting, and the number is not falling" in sentences(*growing)[0]
    stuck = [response(500, 9000) for _ in range(4)]
    assert sentences(*stuck) == [
        "warning: 9,000 records are waiting, and none is being stored. No stage is busy."
    ]
    # A worker that was started again counts from 0.
    assert "Nothing is late" not in sentences(response(500, 9000), response(0, 9000))[0]
    lost = response(0, 0) | {
        "unreachable": [{"worker": "http://b", "problem": "x"}],
        "unowned": {"P": [1, 2]},
    }
    assert [each.partition(":")[0] for each in sentences(lost)] == ["critical", "warning"]
    # Stored is not yet answered.
    assert sentences(response(0, 0, samples=3)) == [
        "ok: Every record is stored; 3 sample messages are not in query results yet."
    ]
    behind = response(0, 0, samples=3)
    behind["workers"][0]["answer_delay_seconds"] = {"P": 40.0}
    assert sentences(behind) == [
        "warning: 3 sample messages are waiting: the last readings were in query results 40 s after they were stored."
        " No stage is busy."
    ]
    unknown = response(0, 0)
    unknown["workers"][0]["topics"][0] |= {"partitions": [0, 1], "lag": None, "partition_lags": [0, None]}
    assert sentences(unknown) == ["ok: It is not known yet how many records are waiting."]


def response(readings: float, lag: int, store: float = 0.0, samples: int = 0) -> dict[str, Any]:
    """Of /api/v1/pipeline."""
    topic = {"topic": "t", "role": "ingest", "partitions": [0], "lag": lag, "partition_lags": [lag]}
    sampled = topic | {"role": "aggregate", "lag": samples, "partition_lags": [samples]}
    worker = {
        "worker": "http://a",
        "consuming": True,
        "problem": None,
        "topics": [topic, sampled],
        "stages": [],
        "readings": {"P": readings},
        "row_delay_seconds": {},
        "answer_delay_seconds": {},
        "held_back": 0,
        "stage_totals": {"store": {"batches": readings / 100, "seconds": store}},
    }
    return {"workers": [worker], "unreachable": [], "unowned": {}}
