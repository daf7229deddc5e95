"""Loading and validating settings."""

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


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; SPARKLE_SETTINGS is not set."""
    monkeypatch.delenv("SPARKLE_SETTINGS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


@pytest.mark.usefixtures("working_directory")
def test_without_a_file_the_error_names_the_invalid_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKLE_WEB__PORT", "http")
    with pytest.raises(
        ConfigurationError,
        match=r"environment variable SPARKLE_WEB__PORT: expected a whole number from 1 to 65535",
    ):
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brokr: {url: x}", r"brokr: expected a known setting, found brokr; did you mean broker\."),
        ("web: {prot: 1}", r"web.prot: expected a known setting, found web.prot; did you mean web.port\?"),
        ("web: {port: 70000}", r"web.port: expected a whole number from 1 to 65535, found 70000; see"),
        (
            "aggregates: {bucket_seconds: sixty}",
            r"aggregates.bucket_seconds: expected a whole number from 2 to 3600, found 'sixty'",
        ),
        (
            "aggregates: {bucket_seconds: 70}",
            r"window_retention_seconds: expected a multiple of bucket_seconds \(70\), found 3600",
        ),
        (
            "dead_letters: {per_cause: 0}",
            r"dead_letters.per_cause: expected a whole number of at least 1, found 0",
        ),
        (
            "ingest: {batch_size: 2.5}",
            r"ingest.batch_size: expected a whole number from 1 to 10000, found 2.5",
        ),
        (
            "broker: {wait_seconds: soon}",
            r"broker.wait_seconds: expected a number greater than 0 and at most 86400, found 'soon'",
        ),
        ("broker: {wait_seconds: 0}", r"broker.wait_seconds: expected a number greater than 0 .*found 0;"),
        (
            "broker: {wait_seconds: .inf}",
            r"broker.wait_seconds: expected a number .*at most 86400, found inf",
        ),
        ("database: {wait_seconds: 1.0e+12}", r"database.wait_seconds: .*at most 86400, found 1000000000000"),
        ("ingest: {batch_wait_seconds: .inf}", r"ingest.batch_wait_seconds: .*at most 3600, found inf"),
        ("aggregates: {batch_wait_seconds: .nan}", r"aggregates.batch_wait_seconds: .*found nan"),
        (
            "broker: {partitions: yes}",
            r"broker.partitions: expected a whole number from 1 to 1000, found True",
        ),
        ("web: {port: true}", r"web.port: expected a whole number from 1 to 65535, found True"),
        ("broker: {wait_seconds: on}", r"broker.wait_seconds: expected a number greater.*found True"),
        ("certs: ''", r"settings.yaml, certs: expected a path, found ''"),
        ("data: ' '", r"settings.yaml, data: expected a path, found ' '"),
        ("certs: ~/certs", r"settings.yaml, certs: expected a path without ~, .*found '~/certs'"),
        ("web: {tls: {certificate: ~me/a, key: b}}", r"web.tls.certificate: expected a path without ~"),
        (
            "database: {url: 'sqlite:///~/x.sqlite3'}",
            r"database.url: expected a path without ~, .*found sqlite:///~/x.sqlite3; write the absolute path",
        ),
        ("web: {tls: {key: ''}}", r"settings.yaml, web.tls.key: expected a path, found ''"),
        ("_env_file: /etc/passwd", r"_env_file: expected a known setting, found _env_file"),
        ("_env_prefix: FOO_", r"expected a known setting, found _env_prefix"),
        ("_cli_parse_args: true", r"expected a known setting, found _cli_parse_args"),
        ("_case_sensitive: true", r"expected a known setting, found _case_sensitive"),
        ("retention: {plugins: none}", r"retention.plugins: expected JSON such as .*found 'none'"),
        ("log_level: loud", r"log_level: expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR', found 'loud'"),
        ("app_id: 'a b'", r"app_id: expected .*pattern"),
        ("database: {url: 'nonsense'}", r"database.url: expected a SQLAlchemy URL"),
        (
            "database: {url: 'mssql://a:secret@h/d'}",
            r"database.url: expected the driver of mssql://… to be installed, found No module named 'pyodbc'",
        ),
        ("database: {url: 'sqlite://'}", r"database.url: expected a file.*found an in-memory database"),
        ("web: {host: 0.0.0.0}", r"web.token: expected a token, since web.host is 0.0.0.0, found none"),
        ("web: {host: 0.0.0.0, token: ''}", r"web.token: expected a token"),
        ("web: [1]", r"web: expected"),
        ("- 1\n- 2", r"settings.yaml: expected keys with values, .*found a list"),
        ("- a", r"settings.yaml: expected keys with values, .*found a list"),
        ("- ab", r"settings.yaml: expected keys with values, .*found a list"),
        ("app_id", r"settings.yaml: expected keys with values, .*found a single value"),
        ("1: a", r"settings.yaml: expected keys with values"),
        (
            "web: {port: 7000}\ndata: d\nweb:\n  host: 127.0.0.1\n",
            r"settings.yaml, line 3: expected each key once, found web, which is also in line 1",
        ),
        ("web: {port: 1, port: 2}", r"line 1: expected each key once, found port, which is also in line 1"),
        ("web:\n  port: 1\n  port: 2\n", r"line 3: expected each key once, found port, .*line 2"),
        ("a: [", r"settings.yaml, line 1, column 5: expected YAML, found a syntax error"),
        ("broker: 'kafka:9092'", r"broker: expected keys such as broker.url, found a string"),
        ("web:", r"web: expected keys such as web.host, found nothing"),
        (
            "database: postgresql://me:secret@db/x",
            r"database: expected keys such as database.url, found a string",
        ),
        (
            "broker: {sasl: secret}",
            r"broker.sasl: expected keys such as broker.sasl.mechanism, found a string",
        ),
        (
            "broker:\n  sasl:\n    password: *secret\n",
            r"settings.yaml, line 3, column 15: expected YAML, found an invalid anchor or alias; quote a value",
        ),
        (
            "web:\n  token: !secret\n",
            r"settings.yaml, line 2, column 10: expected YAML, found an invalid tag or key; quote a value",
        ),
        ("web: {token: %secret}", r"line 1, column 14: expected YAML, found a syntax error"),
        ("web: {token: !!int secret}", r"settings.yaml: expected YAML, found an invalid value"),
        ("web: {token: !!bool secret}", r"settings.yaml: expected YAML, found an invalid value"),
        ("web: {token: !!timestamp secret}", r"settings.yaml: expected YAML, found an invalid value"),
        ("a: " + 3000 * "[", r"settings.yaml: expected YAML, found too many nested values"),
        ('certs: "a\\0b"', r"certs: expected a path, found 'a\\x00b'"),
        ('plugins: "a\\ud800"', r"plugins: expected a path, found 'a\\ud800'"),
        ('web: {tls: {key: "a\\0"}}', r"web.tls.key: expected a path, found"),
        ('web: {host: "a\\0"}', r"web.host: expected text without NUL characters, found"),
        (
            'web: {token: "secret\\0"}',
            r"web.token: expected text without NUL .*found another value, which is not shown",
        ),
        (
            'web: {token: " secret"}',
            r"web.token: expected a token without spaces around it, .*found another value, which is not shown",
        ),
        (
            'web: {token: "secret\\r"}',
            r"web.token: expected a token without spaces around it, .*found another value, which is not shown",
        ),
        (
            'web: {operator_token: "   "}',
            r"web.operator_token: expected a token without spaces around it, .*found another value, which is not shown",
        ),
        (
            'web: {operator_token: "sec\\nret"}',
            r"web.operator_token: expected a token without spaces around it, .*found another value, which is not shown",
        ),
        ("web: {token: 'secret\a'}", r"settings.yaml: expected YAML, found a character that is not allowed"),
        ("web: {token:secret}", r"web.token: expected .*, found web.token: without a space after the colon"),
        ("broker: {url: 'a:99999'}", r"broker.url: expected HOST:PORT.*found 'a:99999'"),
        (
            "database: {url: 'postgresql+asyncpg://a:secret@h/d'}",
            r"database.url: expected .*found postgresql\+asyncpg",
        ),
        (
            r'database: {url: "postgresql://a:\0secret@h/d"}',
            r"database.url: expected text without NUL characters, found another value",
        ),
        ("broker: {tls: true}", r"broker.tls: expected keys such as broker.tls.enabled, found a boolean"),
        ("broker: {tls: {enabld: true}}", r"found broker.tls.enabld; did you mean broker.tls.enabled\?"),
        (
            "broker: {tls: {ca_file: a}}",
            r"broker.tls.enabled: expected true, since broker.tls.ca_file is set",
        ),
        ("broker: {tls: {enabled: true, cert_file: a}}", r"broker.tls.key_file: expected a file"),
        ("broker: {tls: {enabled: true, key_file: a}}", r"broker.tls.cert_file: expected a file"),
        ("broker: {sasl: {username: a, password: secret}}", r"broker.sasl.mechanism: expected a value"),
        ("broker: {sasl: {mechanism: PLAIN, username: a}}", r"broker.sasl.password: expected a value"),
        ("broker: {sasl: {mechanism: GSSAPI}}", r"broker.sasl.mechanism: expected 'PLAIN', .*found 'GSSAPI'"),
        (
            "broker: {sasl: {password: [secret]}}",
            r"broker.sasl.password: .*found another value, which is not shown",
        ),
        ("broker: {url: 'localhost'}", r"broker.url: expected HOST:PORT.*found 'localhost'"),
        ("broker: {url: 'a:1,http://b:2'}", r"broker.url: expected HOST:PORT.*found 'http://b:2'"),
    ],
)
def test_an_invalid_setting_is_an_error_of_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(file)
    assert "\n" not in str(caught.value)
    # Nor in the message of an exception that a traceback would show as the cause.
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


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
