"""Settings from environment variables, and errors in these."""

from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.model.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def test_environment_variables_override_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("broker: {url: 'file:9092', partitions: 3}\nweb: {port: 7000}\n")
    monkeypatch.setenv("SPARKLE_BROKER__URL", "environment:9092")
    settings = load_settings(file)
    assert (settings.broker.url, settings.broker.partitions, settings.web.port) == (
        "environment:9092",
        3,
        7000,
    )


@pytest.mark.usefixtures("working_directory")
def test_no_shell_replaces_the_tilde_of_an_environment_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKLE_DATA", "~/data")
    with pytest.raises(
        ConfigurationError, match="variable SPARKLE_DATA: expected a path without ~, which only a"
    ):
        load_settings()


def test_sparkle_settings_selects_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("app_id: mine\n")
    monkeypatch.setenv("SPARKLE_SETTINGS", str(file))
    assert load_settings().app_id == "mine"


def test_the_error_for_an_unknown_variable_suggests_a_setting(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("{}")
    monkeypatch.setenv("SPARKLE_DATABSE__URL", "sqlite:///x")
    with pytest.raises(
        ConfigurationError,
        match=r"SPARKLE_DATABSE__URL: expected a known setting.*did you mean SPARKLE_DATABASE__URL\?",
    ):
        load_settings(file)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPARKLE_PORT", "tcp://10.0.0.1:6066"),
        ("SPARKLE_PORT", "tcp://[fd00::1]:6066"),
        ("SPARKLE_SERVICE_HOST", "10.0.0.1"),
        ("SPARKLE_SERVICE_PORT", "6066"),
        ("SPARKLE_SERVICE_PORT_HTTP", "6066"),
        ("SPARKLE_PORT_6066_TCP", "tcp://10.0.0.1:6066"),
        ("SPARKLE_PORT_6066_TCP_ADDR", "10.0.0.1"),
        ("SPARKLE_PORT_6066_TCP_PORT", "6066"),
        ("SPARKLE_PORT_6066_UDP_PROTO", "udp"),
        ("SPARKLE_WEB_PORT", "tcp://10.0.0.1:6066"),
        ("SPARKLE_WEB_SERVICE_HOST", "10.0.0.1"),
        ("SPARKLE_WEB_SERVICE_PORT", "6066"),
        ("SPARKLE_WEB_PORT_6066_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_service_links_of_kubernetes_are_ignored(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    file.write_text("{}")
    monkeypatch.setenv(variable, value)
    assert load_settings(file).web.port == 6066


@pytest.mark.parametrize(
    ("variable", "value", "nearest"),
    [
        ("SPARKLE_WEB_PORT", "7000", "SPARKLE_WEB__PORT"),
        ("SPARKLE_WEB__PRT", "tcp://10.0.0.1:6066", "SPARKLE_WEB__PORT"),
        ("SPARKLE_BROKER_URL", "tcp://10.0.0.1:9092", "SPARKLE_BROKER__URL"),
    ],
)
def test_a_mistyped_variable_is_not_taken_for_a_service_link(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, nearest: str
) -> None:
    file.write_text("{}")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"{variable}: expected .*did you mean {nearest}"):
        load_settings(file)


def test_a_setting_is_never_taken_for_a_service_link(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("{}")
    monkeypatch.setenv("SPARKLE_WEB__PORT", "tcp://10.0.0.1:6066")
    with pytest.raises(
        ConfigurationError, match=r"SPARKLE_WEB__PORT: expected a whole number from 1 to 65535"
    ):
        load_settings(file)


def test_the_error_names_the_invalid_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("{}")
    monkeypatch.setenv("SPARKLE_WEB__PORT", "http")
    with pytest.raises(
        ConfigurationError,
        match=r"environment variable SPARKLE_WEB__PORT: expected a whole number from 1 to 65535.*found 'http'",
    ):
        load_settings(file)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "BROKER__WAIT_SECONDS",
            "Infinity",
            r": expected a number greater than 0 and at most 86400, found 'I",
        ),
        ("CERTS", "", r": expected a path, found ''"),
        ("RETENTION__PLUGINS", '{"A": {"readings": "30d"}', r": expected JSON such as \{.*, found '\{\"A"),
        ("RETENTION__PLUGINS", "[" * 20_000, r": expected JSON such as .{100,300}$"),
        (
            "RETENTION__PLUGINS",
            '{"A": {"readings": 1}}',
            r", retention.plugins.A.readings: expected a valid str",
        ),
        (
            "RETENTION__PLUGINS",
            '{"A": {"reading": "1d"}}',
            r", retention.plugins.A.reading: expected a known s",
        ),
    ],
)
@pytest.mark.usefixtures("working_directory")
def test_the_error_names_the_variable_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"SPARKLE_{variable}", value)
    with pytest.raises(ConfigurationError, match=f"^environment variable SPARKLE_{variable}{message}"):
        load_settings()


@pytest.mark.usefixtures("working_directory")
def test_the_error_names_a_variable_in_lower_case_that_is_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("sparkle_web", "{secret")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == (
        "environment variable sparkle_web: expected JSON, found a syntax error; see docs/settings.md"
    )


@pytest.mark.usefixtures("working_directory")
def test_without_a_file_the_error_names_the_invalid_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKLE_WEB__PORT", "http")
    with pytest.raises(
        ConfigurationError,
        match=r"environment variable SPARKLE_WEB__PORT: expected a whole number from 1 to 65535",
    ):
        load_settings()
