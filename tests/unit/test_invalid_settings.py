"""Each invalid setting is an error of one line."""

from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.model.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


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
