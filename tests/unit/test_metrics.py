"""The handler's Prometheus metrics."""

from sparkle_app.model.errors import Reason
from sparkle_app.runtime.metrics import Metrics, Stage


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
        "sparkle_dead_letters": set(Reason),
    }
