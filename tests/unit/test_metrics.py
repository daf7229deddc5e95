"""The handler's Prometheus metrics."""

import re

from sparkle_app.model.errors import Reason
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.stages import Stage
from tests.support.worker import PROJECT


def test_every_stage_and_reason_is_exposed_from_the_start() -> None:
    found: dict[str, set[str]] = {}
    for family in Metrics().registry.collect():
        for sample in family.samples:
            for label in ("stage", "reason"):
                if label in sample.labels:
                    found.setdefault(family.name, set()).add(sample.labels[label])
    assert found == {
        "sparkle_retries": set(Stage),
        "sparkle_stage_seconds": set(Stage),
        "sparkle_stage_in_progress_seconds": set(Stage),
        "sparkle_dead_letters": set(Reason),
        "sparkle_dead_letters_suppressed": set(Reason),
    }


def test_the_time_since_a_reading_was_stored_and_of_the_oldest_batch_in_a_stage_is_exposed() -> None:
    now = 100.0
    metrics = Metrics(lambda: now)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    now += 7
    assert value("sparkle_seconds_since_stored") == 7
    metrics.stored("Temperature", 3, 0.5)
    with metrics.stage(Stage.STORE):
        now += 2
        with metrics.stage(Stage.STORE):
            now += 3
            assert value("sparkle_seconds_since_stored") == 5
            assert value("sparkle_stage_in_progress_seconds", stage="store") == 5
            assert value("sparkle_stage_in_progress_seconds", stage="sink") == 0
    assert value("sparkle_stage_in_progress_seconds", stage="store") == 0
    assert value("sparkle_readings_total", plugin="Temperature") == 3
    assert value("sparkle_stage_seconds_count", stage="store") == 2


def test_what_depends_on_the_plugins_is_exposed_from_the_start() -> None:
    metrics = Metrics()
    ready = False
    metrics.expose(["telemetry"], ["app-Temperature-samples"], ["Temperature"], lambda: ready)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    for name in ("sparkle_records_total", "sparkle_records_held_back_total", "sparkle_records_expired_total"):
        assert value(name, topic="telemetry") == 0
    assert value("sparkle_records_expired_total", topic="app-Temperature-samples") == 0
    for name in (
        "sparkle_readings_total",
        "sparkle_readings_untrusted_clock_total",
        "sparkle_clocks_not_believed_total",
        "sparkle_buckets_recomputed_total",
    ):
        assert value(name, plugin="Temperature") == 0
    assert value("sparkle_consuming") == 0
    ready = True
    assert value("sparkle_consuming") == 1


def test_every_metric_is_documented_with_its_labels() -> None:
    metrics = Metrics()
    metrics.expose(["telemetry"], ["app-Temperature-samples"], ["Temperature"], lambda: True)
    with metrics.stage(Stage.STORE):
        pass
    metrics.retained("Temperature", "merge", 1)
    rows = re.findall(r"(?m)^\| (`sparkle_.*?) \| (.*?) \|", (PROJECT / "docs" / "operations.md").read_text())
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    exposed = {
        family.name + ("_total" if family.type == "counter" else ""): {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in metrics.registry.collect()
        if not family.documentation.startswith("Deprecated: ")
    }
    assert len(exposed) > 20
    assert documented.keys() == exposed.keys()
    for name, labels in exposed.items():
        assert not labels or labels == documented[name], name
