"""How long rows are kept: durations, single plugins, and their rules."""

from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import Settings
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import DAY, Retention
from sparkle_app.retention.retainer import warnings


def load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return load_settings(file)


def test_the_defaults() -> None:
    assert Settings().retention.of("Temperature") == Retention(90 * DAY, 30 * DAY, 3 * 365 * DAY, None)


def test_a_plugin_may_have_other_durations(tmp_path: Path) -> None:
    settings = load(
        tmp_path, "retention: {readings: 12w, plugins: {Temperature: {readings: forever, hours: 1y}}}"
    )
    assert settings.retention.of("Temperature") == Retention(None, 30 * DAY, 365 * DAY, None)
    assert settings.retention.of("Other") == Retention(84 * DAY, 30 * DAY, 3 * 365 * DAY, None)
    assert warnings(settings, {}) == ["retention.plugins: Temperature is not installed"]


def test_environment_variables_set_durations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKLE_RETENTION__READINGS", "7d")
    monkeypatch.setenv("SPARKLE_RETENTION__PLUGINS", '{"A": {"buckets": "2d"}}')
    settings = load(tmp_path, "retention: {readings: 8d}")
    assert settings.retention.of("A") == Retention(7 * DAY, 2 * DAY, 3 * 365 * DAY, None)


@pytest.mark.parametrize(
    "duration", ["0d", "90", "d", "1h", "-1d", "1.5d", "101y", "90 d", "Forever", "90D", ""]
)
def test_a_duration_is_a_number_of_days_weeks_or_years(tmp_path: Path, duration: str) -> None:
    expected = r"retention\.readings: expected .*whole days, weeks or years, .*, up to 100y, or forever"
    with pytest.raises(ConfigurationError, match=expected):
        load(tmp_path, f"retention: {{readings: '{duration}'}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retention: {hours: 29d}", r"retention.hours: expected at least as long as buckets \(30d\), found 29d"),
        ("retention: {days: 2y}", r"retention.days: expected at least as long as hours \(3y\), found 2y"),
        (
            "retention: {buckets: forever}",
            r"retention.hours: expected at least as long as buckets \(forever\), found 3y",
        ),
        (
            "retention: {plugins: {A: {buckets: 4y}}}",
            r"retention.plugins.A.hours: expected at least as long as buckets \(4y\), found 3y",
        ),
        (
            "{aggregates: {window_retention_seconds: 172800}, retention: {readings: 2d}}",
            r"retention.readings: expected longer than aggregates.window_retention_seconds \(172800\), found 2d",
        ),
        (
            "{aggregates: {window_retention_seconds: 172800}, retention: {plugins: {A: {buckets: 1d}}}}",
            r"retention.plugins.A.buckets: expected longer than .*seconds \(172800\), found 1d",
        ),
        ("retention: {plugins: {A: {reading: 1d}}}", "expected a known setting, found retention.plugins.A.reading"),
    ],
)  # fmt: skip
def test_a_rule_that_is_violated_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("size", "missing"), [(7, "hourly or daily"), (2400, "hourly"), (60, None), (3600, None)]
)
def test_a_bucket_size_that_does_not_divide_an_hour_is_said(
    tmp_path: Path, size: int, missing: str | None
) -> None:
    settings = load(
        tmp_path, f"aggregates: {{bucket_seconds: {size}, window_retention_seconds: {size * 60}}}"
    )
    found = warnings(settings, {})
    assert found == ([] if missing is None else [found[0]])
    if missing is not None:
        assert found[0].endswith(f"does not divide an hour: there are no {missing} aggregates")
