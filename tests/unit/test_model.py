"""Records, readings, samples and errors."""

import pickle
from datetime import datetime

import pytest

from sparkle_app.model.errors import ConfigurationError, InvalidRecordError, Reason, TransientError
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.sample import Sample

READING = Reading(
    id=bytes(range(16)),
    config_id=7,
    hostname="web-1",
    plugin="Temperature",
    key="core/0",
    value=42.5,
    observed_at=1_700_000_000_000_001,
    received_at=1_700_000_000_000_002,
    clock_trusted=False,
    topic="telemetry",
    partition=3,
    offset=99,
    local_time=datetime(2023, 11, 14, 22, 13, 20),
    index=4,
)


def test_sql_holds_a_reading_without_its_plugin_local_time_and_index() -> None:
    stored = READING.as_stored()
    assert stored == StoredReading(
        id=bytes(range(16)),
        config_id=7,
        hostname="web-1",
        key="core/0",
        value=42.5,
        observed_at=1_700_000_000_000_001,
        received_at=1_700_000_000_000_002,
        clock_trusted=False,
        topic="telemetry",
        partition=3,
        offset=99,
    )


def test_a_sample_is_what_an_aggregate_needs_of_a_reading() -> None:
    sample = Sample.of(READING.as_stored(), 315.65)
    assert sample == Sample(bytes(range(8)), "core/0", 315.65, 1_700_000_000_000_001)


@pytest.mark.parametrize("index", [None, 3])
def test_an_invalid_record_can_be_told_to_another_process(index: int | None) -> None:
    error = InvalidRecordError(Reason.BAD_PAYLOAD, "expected an object", index)
    assert error.args == (Reason.BAD_PAYLOAD, "expected an object", index, None, None)
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.detail, again.index) == (Reason.BAD_PAYLOAD, "expected an object", index)
    assert str(again) == "bad_payload: expected an object"


def test_an_invalid_reading_keeps_its_plugin_and_metric_in_another_process() -> None:
    error = InvalidRecordError(Reason.INVALID_VALUE, "expected a number", None, "Temperature", "core/0")
    again = pickle.loads(pickle.dumps(error))
    assert (again.plugin, again.metric) == ("Temperature", "core/0")
    assert InvalidRecordError(Reason.BAD_PAYLOAD, "x").index is None


def test_a_configuration_error_is_one_line_and_its_parts() -> None:
    error = ConfigurationError("web.port", expected="a number", found="'x'", hint="correct it")
    assert str(error) == "web.port: expected a number, found 'x'; correct it"
    assert (error.where, error.expected, error.found, error.hint) == (
        "web.port",
        "a number",
        "'x'",
        "correct it",
    )


def test_a_transient_error_is_one_line_with_or_without_a_hint() -> None:
    error = TransientError("connection refused", "start the database")
    assert (str(error), error.hint) == ("connection refused", "start the database")
    assert TransientError("connection refused").hint is None


def test_an_error_of_a_reading_is_complete_when_another_process_returns_it() -> None:
    error = InvalidRecordError(Reason.INVALID_VALUE, "expected a number", 3, "Temperature", "core/0")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert vars(each) == {
            "reason": Reason.INVALID_VALUE, "detail": "expected a number", "index": 3, "plugin": "Temperature",
            "metric": "core/0",
        }  # fmt: skip
        assert each.args == (Reason.INVALID_VALUE, "expected a number", 3, "Temperature", "core/0")
