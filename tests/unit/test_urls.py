"""Settings that are URLs: nothing of a password is shown, and what other tools write is accepted or explained."""

import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import database_url, masked
from sparkle_app.config.url_parameters import place, shown
from sparkle_app.config.urls import bootstrap_servers
from sparkle_app.config.urls import database_url as checked_url
from sparkle_app.model.errors import ConfigurationError

# No piece of it may appear in an output.
PIECES = ("S3cr", "tPassw0rd", "0rd")


def assert_hidden(text: str) -> None:
    assert not [piece for piece in PIECES if piece in text], text


def load(folder: Path, section: str, **values: str) -> ConfigurationError | None:
    file = folder / "settings.yaml"
    lines = [f"  {name}: '{value}'\n" for name, value in values.items()]
    file.write_text(f"{section}:\n{''.join(lines)}")
    try:
        load_settings(file)
    except ConfigurationError as error:
        return error
    return None


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql", "mariadb+pymysql"])
@pytest.mark.parametrize(
    "rest",
    [
        "sparkle:S3cr@tPassw0rd@host/db",
        "sparkle:S3cr@t:Passw0rd@host:5432/db",
        "sparkle:S3cr@t/Passw0rd@host/db",
        "sparkle:S3cr@1:2/tPassw0rd@host/db",
        "sparkle:S3cr@t?Passw0rd@host/db",
        "sparkle:S3cr@t?x=Passw0rd@host/db",
        "sparkle:S3cr@@tPassw0rd@host/db",
        "spar/kle:S3crtPassw0rd@host/db",
        "user@server:S3cr@tPassw0rd@host/db",
        "sparkle:S3cr@tPassw0rd@[::1]:5432/db",
    ],
)
def test_an_at_sign_in_a_password_gets_a_hint(tmp_path: Path, scheme: str, rest: str) -> None:
    error = load(tmp_path, "database", url=f"{scheme}://{rest}")
    assert error
    assert str(error) == (
        "database.url: expected one @, between the password and the host, found another;"
        " percent-encode the user name and the password: write @ as %40, / as %2F"
    )


def test_a_port_that_is_not_a_number_is_not_shown(tmp_path: Path) -> None:
    error = load(tmp_path, "database", url="postgresql://sparkle:x@host:tPassw0rd/db")
    assert error
    assert "found a port that is not a number" in str(error)
    assert_hidden(str(error))


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("s.db?mode=ro&uri=true", "the parameter mode"),
        ("s.db?vfs=unix-none", "the parameter vfs"),
        ("file:s.db?uri=true", "the parameter uri"),
        ("file:s.db", "a URI, file:…"),
    ],
)
def test_a_uri_of_sqlite_is_refused(tmp_path: Path, rest: str, found: str) -> None:
    # Its file would be another one than that of other programs.
    error = load(tmp_path, "database", url=f"sqlite:///{rest}")
    assert error
    assert str(error).endswith(f", found {found}; write the path without file: and parameters")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://sparkle:S3cr%40tPassw0rd@host:5432/db",
            "postgresql+psycopg2://sparkle:***@host:5432/db",
        ),
        ("postgresql://user@server:S3crtPassw0rd@host/db", "postgresql+psycopg2://user%40server:***@host/db"),
        ("postgresql://host/db?password=S3cr@tPassw0rd", "postgresql+psycopg2://host/db?password=***"),
        (
            "postgresql://me@host/db?sslmode=verify-full&sslpassword=S3cr&sslkey=/k.pem",
            "postgresql+psycopg2://me@host/db?sslkey=/k.pem&sslmode=verify-full&sslpassword=***",
        ),
        ("postgresql:///db?host=a&host=b", "postgresql+psycopg2:///db?host=a&host=b"),
        (
            "mysql://me:S3crtPassw0rd@host/db?charset=latin1&ssl_ca=/ca.pem&ssl_key_password=S3cr",
            "mysql+pymysql://me:***@host/db?charset=latin1&ssl_ca=/ca.pem&ssl_key_password=***",
        ),
        ("mysql://host/db?passwd=S3cr@tPassw0rd", "mysql+pymysql://host/db?passwd=***"),
        # An unknown parameter can be a mistyped one.
        ("postgresql://host/db?passwrod=S3cr", "postgresql+psycopg2://host/db?passwrod=***"),
    ],
)
def test_secrets_of_a_database_url_are_masked(tmp_path: Path, url: str, expected: str) -> None:
    assert load(tmp_path, "database", url=url) is None
    settings = load_settings(tmp_path / "settings.yaml")
    assert dict(masked(settings))["database.url"] == expected
    # The driver still gets them.
    loaded, given = database_url(settings), make_url(url)
    assert (loaded.username, loaded.password, loaded.query) == (given.username, given.password, given.query)
    assert shown(loaded) == expected


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:S3cr%00tPassw0rd@host/db",
        "postgresql://u%00:S3cr@host/db",
        "mysql://host/db?passwd=S3cr%00",
        "sqlite:///folder%00/x",
        "sqlite:///x?a%00=b",
    ],
)
def test_a_nul_in_a_url_is_refused(tmp_path: Path, url: str) -> None:
    error = load(tmp_path, "database", url=url)
    assert str(error) == "database.url: expected text without NUL characters, found one; remove it (%00)"


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("timeout=S3cr", "timeout"),
        ("timeout=5&check_same_thread=S3cr", "check_same_thread"),
        ("timeout=1&timeout=2", "timeout"),
        ("detect_types=99999999999999999999", "detect_types"),
    ],
)
def test_a_parameter_of_sqlite_that_cannot_be_used_is_named(
    tmp_path: Path, parameters: str, name: str
) -> None:
    assert str(load(tmp_path, "database", url=f"sqlite:///x.db?{parameters}")) == (
        "database.url: expected parameters that the driver SQLite can use,"
        f" found an invalid value of {name}; correct or remove it"
    )
    assert load(tmp_path, "database", url="sqlite:///x.db?timeout=5&check_same_thread=false") is None


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("broker", {"url": "kafka://sparkle:S3cr@tPassw0rd@host:9092"}),
        ("broker", {"url": "a:9092,sparkle:S3crtPassw0rd@host:9092"}),
        ("broker", {"url": "sparkle:S3cr,tPassw0rd@host:9092"}),
        ("web", {"public_url": "http://me:S3crtPassw0rd@host:6066"}),
    ],
)
def test_a_login_in_another_url_is_rejected_without_being_shown(
    tmp_path: Path, section: str, values: dict[str, str]
) -> None:
    error = load(tmp_path, section, **values)
    assert error
    assert "user name or password" in str(error)
    assert_hidden(str(error))


@pytest.mark.parametrize(
    "url",
    [
        "worker-1:6066",
        "worker-1",
        "//worker-1:6066",
        "http://",
        "http:///x",
        "http://:6066",
        "ftp://worker-1",
        "http://worker-1:http",
        "http://worker-1:99999",
        "http://worker-1:0",
        "http://[::1",
    ],
)
def test_a_public_url_without_scheme_or_host_is_rejected(tmp_path: Path, url: str) -> None:
    assert str(load(tmp_path, "web", public_url=url)) == (
        f"web.public_url: expected a URL such as http://worker-1:6066, found '{url}';"
        " write http:// or https://, and a host"
    )


@pytest.mark.parametrize("url", ["http://worker-1:6066", "HTTPS://x.example", "http://[::1]:6066/a/", ""])
def test_a_public_url_may_have_any_host(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, "web", public_url=url) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("kafka://host:9092", "host:9092"),
        ("kafka://a:1,kafka://b:2", "a:1,b:2"),
        ("kafka://a:1;b:2", "a:1,b:2"),
        ("a:1, kafka://[::1]:2", "a:1,[::1]:2"),
        ("a:1,b:2", "a:1,b:2"),
    ],
)
def test_servers_with_the_scheme_of_faust_are_accepted(value: str, expected: str) -> None:
    assert bootstrap_servers(value) == expected


@pytest.mark.parametrize(
    "value", ["kafka://", "kafka://host", "kafka:host:9092", "http://b:2", "a:1,,b:2", ""]
)
def test_other_servers_are_rejected(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"broker.url: expected HOST:PORT"):
        bootstrap_servers(value)


@pytest.mark.parametrize("scheme", ["mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"])
def test_mariadb_and_mysql_have_one_name(tmp_path: Path, scheme: str) -> None:
    assert load(tmp_path, "database", url=f"{scheme}://me:S3cr@host:3307/db?ssl_ca=/ca.pem") is None
    loaded = database_url(load_settings(tmp_path / "settings.yaml"))
    assert loaded == make_url("mysql+pymysql://me:S3cr@host:3307/db?ssl_ca=/ca.pem")


def test_the_error_names_the_extra_of_a_driver_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "pymysql", None)
    error = load(tmp_path, "database", url="mariadb://me:S3cr@host/db")
    assert str(error) == (
        "database.url: expected the Python package pymysql, which mysql+pymysql://… requires, to be installed,"
        " found none; install it: pip install 'sparkle-m-handler[mysql]', or -r requirements-mysql.txt"
    )
    assert load(tmp_path, "database", url="postgresql://me:S3cr@host/db") is None


def test_either_driver_of_postgresql_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drivername(scheme: str) -> str:
        assert load(tmp_path, "database", url=f"{scheme}://me:S3cr@host/db") is None
        return database_url(load_settings(tmp_path / "settings.yaml")).drivername

    assert drivername("postgresql") == "postgresql+psycopg2"
    assert drivername("postgresql+psycopg") == "postgresql+psycopg"
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    assert drivername("postgresql") == "postgresql+psycopg"
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = load(tmp_path, "database", url="postgresql://me:S3cr@host/db")
    assert "the Python package psycopg2, which postgresql+psycopg2://… requires" in str(error)
    assert "pip install 'sparkle-m-handler[psycopg]'" in str(error)


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("mysql+mysqldb", "a supported driver of mysql, found mysql+mysqldb://…; write mysql://…"),
        (
            "mariadb+mariadbconnector",
            "a supported driver of mariadb, found mariadb+mariadbconnector://…; write mariadb://…",
        ),
        (
            "postgresql+asyncpg",
            "a supported driver of postgresql, found postgresql+asyncpg://…; write postgresql://…",
        ),
        (
            "mssql+pyodbc",
            "the driver of mssql+pyodbc://… to be installed, found No module named 'pyodbc';"
            " install it: pip install pyodbc",
        ),
        (
            "hana",
            "a SQLAlchemy dialect for hana://… to be installed, found none;"
            " install it: pip install sqlalchemy-hana",
        ),
        (
            "postgres",
            "a SQLAlchemy dialect for postgres://… to be installed, found none; write postgresql://…",
        ),
        (
            "otherdb+x",
            "a SQLAlchemy dialect for otherdb+x://… to be installed, found none;"
            " install its package, or correct the name",
        ),
    ],
)
def test_the_error_names_what_to_install_or_to_write(tmp_path: Path, driver: str, expected: str) -> None:
    error = load(tmp_path, "database", url=f"{driver}://me:S3cr@host/db")
    assert str(error) == f"database.url: expected {expected}"


def test_oracle_is_used_with_the_driver_of_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "oracle://me:S3cr@host:1521/?service_name=x"
    assert load(tmp_path, "database", url=url) is None
    settings = load_settings(tmp_path / "settings.yaml")
    assert dict(masked(settings))["database.url"] == "oracle+oracledb://me:***@host:1521/?service_name=x"
    monkeypatch.setitem(sys.modules, "oracledb", None)
    error = load(tmp_path, "database", url=url)
    assert "install it: pip install 'sparkle-m-handler[oracle]', or -r requirements-oracle.txt" in str(error)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://me:x@host/db", "postgresql+psycopg://you:y@host/db?sslmode=require", True),
        ("postgresql:///db?host=old", "postgresql:///db?host=new", False),
        ("postgresql:///db?host=a&port=5432", "postgresql:///db?host=a&port=5433", False),
        ("postgresql:///?service=old", "postgresql:///?service=new", False),
        ("mysql://me@/db?unix_socket=/a", "mysql://me@/db?unix_socket=/b", False),
        ("mysql://host/db?charset=latin1", "mariadb://host/db", True),
        ("oracle://host/?service_name=a", "oracle://host/?service_name=b", False),
        ("sqlite:////tmp/p/../p/s.db", "sqlite:////tmp/p/s.db?timeout=5", True),
        ("sqlite:////tmp/p/s.db", "sqlite:////tmp/p/t.db", False),
    ],
)
def test_what_says_where_a_database_is(one: str, other: str, same: bool) -> None:
    places = [place(make_url(checked_url(SecretStr(url)).get_secret_value())) for url in (one, other)]
    assert (places[0] == places[1]) is same


def test_links_to_an_sqlite_file_are_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert place(make_url(f"sqlite:///{tmp_path}/link/s.db")) == place(make_url(f"sqlite:///{tmp_path}/s.db"))


@pytest.mark.parametrize("url", ["sqlite://folder/x", "sqlite://x", "sqlite://folder/y/x.sqlite3"])
def test_two_slashes_before_an_sqlite_file_are_explained(tmp_path: Path, url: str) -> None:
    error = load(tmp_path, "database", url=url)
    assert error
    assert "database.url: expected three slashes before a relative path" in str(error)
