"""Loading settings: files, paths and defaults."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import changed, masked
from sparkle_app.model.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def test_the_shipped_settings_file_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARKLE_SETTINGS", raising=False)
    settings = load_settings()
    assert settings.app_id == "sparkle"
    assert settings.web.host == "127.0.0.1"
    assert settings.web_url == "http://127.0.0.1:6066"
    everywhere = settings.model_copy(update={"web": settings.web.model_copy(update={"host": "0.0.0.0"})})
    assert everywhere.web_url == f"http://{socket.gethostname()}:6066"


def test_an_ipv6_address_may_have_the_brackets_that_it_has_in_a_url(file: Path) -> None:
    for host in ("::1", "[::1]"):
        file.write_text(f"web: {{host: '{host}'}}")
        settings = load_settings(file)
        assert (settings.web.host, settings.web_url) == ("::1", "http://[::1]:6066")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("", []),
        ("token: ''", []),
        ("token: 0123456789abcdef", []),
        ("token: x23456789abcdef", ["web.token"]),
        ("token: hush, operator_token: secret", ["web.token", "web.operator_token"]),
    ],
)
def test_a_short_token_is_a_warning_that_does_not_show_it(file: Path, lines: str, named: list[str]) -> None:
    file.write_text(f"web: {{{lines}}}")
    warnings = load_settings(file).web.warnings
    assert [line.partition(":")[0] for line in warnings] == named
    for token in ("hush", "secret", "x23456789abcdef"):
        assert token not in "".join(warnings)


def test_without_a_file_the_defaults_are_relative_to_the_working_directory(working_directory: Path) -> None:
    settings = load_settings()
    assert (settings.source, settings.app_id, settings.certs, settings.data) == (
        f"defaults, in {working_directory}",
        "sparkle",
        working_directory / "certs",
        working_directory / "data",
    )
    assert settings.database.url.get_secret_value() == f"sqlite:///{working_directory}/data/sparkle.sqlite3"


def test_the_file_in_the_working_directory_is_read(working_directory: Path) -> None:
    (working_directory / "settings.yaml").write_text("app_id: here\n")
    settings = load_settings()
    assert (settings.app_id, settings.source) == ("here", str(working_directory / "settings.yaml"))


@pytest.mark.parametrize(
    "create",
    [
        Path.mkdir,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path),
    ],
    ids=["folder", "broken link", "loop"],
)
def test_settings_yaml_that_is_not_a_file_is_an_error(
    working_directory: Path, create: Callable[[Path], None]
) -> None:
    create(working_directory / "settings.yaml")
    with pytest.raises(ConfigurationError, match="expected a settings file, found none"):
        load_settings()


def test_the_shipped_plugins_are_used_unless_there_is_a_plugins_folder(file: Path) -> None:
    file.write_text("{}")
    shipped = Path(__file__).parents[2] / "plugins"
    assert load_settings(file).plugins == shipped
    (file.parent / "plugins").mkdir()
    assert load_settings(file).plugins == file.parent / "plugins"


def test_a_configured_plugins_folder_is_used_even_if_it_does_not_exist(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("plugins: plugins")
    assert load_settings(file).plugins == file.parent / "plugins"
    file.write_text("{}")
    monkeypatch.setenv("SPARKLE_PLUGINS", "plugins")
    assert load_settings(file).plugins == file.parent / "plugins"


def test_paths_are_relative_to_the_file(file: Path) -> None:
    file.write_text(
        "certs: secrets\ndatabase: {url: 'sqlite:///here/db.sqlite3'}\n"
        "broker: {tls: {enabled: true, ca_file: certs/ca.pem, cert_file: /etc/me.pem, key_file: me.key}}\n"
    )
    settings = load_settings(file)
    assert settings.certs == file.parent / "secrets"
    assert settings.database.url.get_secret_value() == f"sqlite:///{file.parent}/here/db.sqlite3"
    tls = settings.broker.tls
    assert (tls.ca_file, tls.cert_file) == (file.parent / "certs/ca.pem", Path("/etc/me.pem"))
    assert tls.key_file == file.parent / "me.key"


def test_paths_are_relative_to_a_link_to_the_file(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap."""
    (tmp_path / "..2026_12_01").mkdir()
    (tmp_path / "..2026_12_01" / "settings.yaml").write_text("app_id: mine\n")
    (tmp_path / "..data").symlink_to("..2026_12_01")
    file = tmp_path / "settings.yaml"
    file.symlink_to("..data/settings.yaml")
    settings = load_settings(file)
    assert (settings.app_id, settings.source) == ("mine", str(file))
    assert (settings.certs, settings.data) == (tmp_path / "certs", tmp_path / "data")


def test_the_error_names_a_missing_file(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"settings.yaml: expected a settings file, found none"):
        load_settings(file)


def test_a_postgresql_url_does_not_need_the_driver(file: Path) -> None:
    file.write_text("database: {url: 'postgresql://me:secret@db/x'}\n")
    assert load_settings(file).database.url.get_secret_value() == "postgresql+psycopg2://me:secret@db/x"


@pytest.mark.parametrize("level", ["info", "Info", "INFO"])
def test_the_log_level_is_case_insensitive(file: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    file.write_text("{}")
    monkeypatch.setenv("SPARKLE_LOG_LEVEL", level)
    assert load_settings(file).log_level == "INFO"


def test_with_an_empty_file_the_defaults_apply(file: Path) -> None:
    file.write_text("# empty\n")
    assert load_settings(file).web.port == 6066


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        # Set to its default, also a path.
        ("web: {port: 6066}\ncerts: certs\ndatabase: {url: 'sqlite:///data/sparkle.sqlite3'}", {}),
        ("web: {port: 7000, token: hush}", {"web.port": "7000", "web.token": "**********"}),
        ("data: elsewhere", {"data": "FOLDER/elsewhere"}),
        ("broker: {tls: {enabled: true}}", {"broker.tls.enabled": "True"}),
    ],
)
def test_what_differs_from_the_defaults(file: Path, text: str, expected: dict[str, str]) -> None:
    file.write_text(text)
    found = dict(changed(load_settings(file)))
    assert found == {key: value.replace("FOLDER", str(file.parent)) for key, value in expected.items()}


def test_secrets_are_masked(file: Path) -> None:
    file.write_text(
        "web: {token: hush}\ndatabase: {url: 'postgresql+psycopg2://me:secret@db/x'}\n"
        "broker: {sasl: {mechanism: PLAIN, username: me, password: hush}}\n"
    )
    lines = dict(masked(load_settings(file)))
    assert lines["database.url"] == "postgresql+psycopg2://me:***@db/x"
    assert "hush" not in lines["web.token"]
    assert lines["broker.sasl.username"] == "me"
    assert "hush" not in lines["broker.sasl.password"]
    assert lines["broker.url"] == "127.0.0.1:9092"


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("aggregates.horizon_seconds", "aggregates.window_retention_seconds", 7200),
        ("aggregates.flush_seconds", "aggregates.batch_wait_seconds", 0.5),
    ],
)
def test_a_deprecated_key_still_works(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    old: str,
    new: str,
    value: float,
) -> None:
    section, _, old_name = old.partition(".")
    new_name = new.partition(".")[2]

    def variable(key: str) -> str:
        return f"SPARKLE_{key.upper().replace('.', '__')}"

    file.write_text(f"{section}: {{{old_name}: {value}}}\n")
    assert getattr(load_settings(file).aggregates, new_name) == value
    assert f"{file}, {old} is deprecated: use {new}" in caplog.text
    file.write_text(f"{section}: {{{new_name}: 120}}\n")
    monkeypatch.setenv(variable(old), str(value))
    assert getattr(load_settings(file).aggregates, new_name) == value
    assert f"environment variable {variable(old)} is deprecated: use {variable(new)}" in caplog.text
    monkeypatch.setenv(variable(new), "180")
    with pytest.raises(
        ConfigurationError, match=f"{variable(old)}: expected only {variable(new)}, found both"
    ):
        load_settings(file)
    monkeypatch.delenv(variable(old))
    monkeypatch.delenv(variable(new))
    file.write_text(f"{section}: {{{old_name}: 60, {new_name}: 60}}\n")
    with pytest.raises(ConfigurationError, match=f"{old}: expected only {new}, found both"):
        load_settings(file)
