"""The settings that are URLs: how they are checked and, without secrets, shown."""

import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from sparkle_app.model.errors import ConfigurationError

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg2",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "oracle": "oracle+oracledb",
}
_EXTRAS = {
    "postgresql+psycopg2": ("psycopg2", "psycopg"),
    "postgresql+psycopg": ("psycopg", "psycopg"),
    "mysql+pymysql": ("pymysql", "mysql"),
    "oracle+oracledb": ("oracledb", "oracle"),
}
"""Module of each driver, and the extra of pyproject.toml that installs one for this database."""
_DIALECT_HINTS = {
    "cockroachdb": "install it: pip install sqlalchemy-cockroachdb psycopg2-binary",
    "db2": "install it: pip install ibm-db-sa",
    "hana": "install it: pip install sqlalchemy-hana",
    "monetdb": "install it: pip install sqlalchemy-monetdb",
    "postgres": "write postgresql://…",
}
"""What to do where SQLAlchemy itself has no dialect of this name."""
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})")
_SCHEME = "kafka://"
# As SQLAlchemy parses them.
_LOGIN = re.compile(r"[^:/]*(:[^@]*)?@")
# Parameters of a connection to a server that are no secrets. The values of others are masked.
_SHOWN_PARAMETERS = {
    "application_name", "channel_binding", "charset", "collation", "connect_timeout", "gssencmode", "host",
    "hostaddr", "mode", "options", "port", "read_default_file", "read_default_group", "service", "service_name",
    "ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_disabled", "ssl_key",
    "ssl_verify_cert", "ssl_verify_identity", "sslcert", "sslkey", "sslmode", "sslrootcert", "target_session_attrs",
    "unix_socket", "user",
}  # fmt: skip
# Of SQLite's own URIs, whose files the handler would not find.
_URI_PARAMETERS = {"cache", "immutable", "mode", "modeof", "nolock", "psow", "uri", "vfs"}
# Those that say where a database is.
_PLACE_PARAMETERS = {
    "config_dir", "database", "db", "dbname", "dsn", "host", "hostaddr", "instance_name", "port", "read_default_file",
    "read_default_group", "service", "service_name", "sid", "unix_socket",
}  # fmt: skip
_PARAMETERS = _SHOWN_PARAMETERS | {"passfile", "passwd", "password", "ssl_key_password", "sslpassword"}


def bootstrap_servers(value: str) -> str:
    """``HOST:PORT``, several separated by commas. ``kafka://`` and semicolons, as Faust's users write, are accepted.

    Raises:
        ConfigurationError: for anything else.
    """
    servers = [server.strip().removeprefix(_SCHEME) for server in re.split("[,;]", value)]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match and 1 <= int(match[2]) <= 65535:
            continue
        # What precedes an @ would be a login.
        login = "@" in value
        raise ConfigurationError(
            "broker.url",
            expected="HOST:PORT, several separated by commas",
            found="a user name or password" if login else repr(server),
            hint="set broker.sasl instead" if login else "correct the setting",
        )
    return ",".join(servers)


def database_url(value: SecretStr) -> SecretStr:
    """The URL, with its driver.

    Raises:
        ConfigurationError: if it is invalid; nothing of it is quoted that could be part of a password.
    """
    text = value.get_secret_value()
    _check_characters(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        # SQLAlchemy converts the port, which is part of a password that contains @ and a colon.
        _refuse_at_sign(text)
        invalid_port = isinstance(error, ValueError)
        raise ConfigurationError(
            "database.url",
            expected="a SQLAlchemy URL such as sqlite:///data/sparkle.sqlite3",
            found="a port that is not a number" if invalid_port else "an invalid URL",
            hint="see docs/settings.md",
        ) from error
    _refuse_nul(url)
    driver = _DRIVERS.get(url.drivername, url.drivername)
    if url.drivername == "postgresql" and not find_spec("psycopg2") and find_spec("psycopg"):
        driver = "postgresql+psycopg"
    if driver in _DRIVERS.values():
        _check_installed(driver)
    else:
        _check_dialect(url)
    url = url.set(drivername=driver)
    if url.get_backend_name() == "sqlite":
        _check_sqlite(url)
    else:
        _refuse_at_sign(text)
    return SecretStr(url.render_as_string(hide_password=False))


def shown(url: URL) -> str:
    """The URL for logs and messages: without its password, and without values that could be secrets."""
    text = url.set(query={}).render_as_string(hide_password=True)
    parameters = [
        f"{name}={value if name in _SHOWN_PARAMETERS else '***'}"
        for name, values in url.query.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return f"{text}?{'&'.join(parameters)}" if parameters else text


def place(url: URL) -> URL:
    """What of the URL of a database says where it is, to compare it with that of another URL."""
    backend = url.get_backend_name()
    place = url.set(drivername=backend, username="", password="")
    if backend == "sqlite":
        # The same file has many names.
        return place.set(database=os.path.realpath(url.database or ""), query={})
    return place.set(query={name: value for name, value in url.query.items() if name in _PLACE_PARAMETERS})


def url_without_login(value: str | None) -> str | None:
    """The URL, which must not contain a login: workers log it.

    Raises:
        ConfigurationError: if it does.
    """
    if value and "@" in value:
        raise ConfigurationError(
            "web.public_url",
            expected="a URL such as http://worker-1:6066",
            found="one with a user name or password",
            hint="remove it; workers authenticate with certs/internal_key",
        )
    return value


def _check_characters(text: str) -> None:
    # Bytes of an argument or a variable that are not UTF-8 are lone surrogates.
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise ConfigurationError(
            "database.url",
            expected="UTF-8 without NUL characters",
            found="other characters",
            hint="percent-encode them in the user name and the password",
        )


def _check_installed(driver: str) -> None:
    module, extra = _EXTRAS.get(driver, (None, None))
    if module and not find_spec(module):
        raise ConfigurationError(
            "database.url",
            expected=f"the Python package {module}, which {driver}://… requires, to be installed",
            found="none",
            hint=f"install it: pip install 'sparkle-m-handler[{extra}]', or -r requirements-{extra}.txt",
        )


def _check_dialect(url: URL) -> None:
    """Check that SQLAlchemy can use a database that the handler has no driver for."""
    database = url.get_backend_name()
    if database in _DRIVERS:
        raise ConfigurationError(
            "database.url",
            expected=f"a supported driver of {database}",
            found=f"{url.drivername}://…",
            hint=f"write {database}://…",
        )
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except NoSuchModuleError as error:
        raise ConfigurationError(
            "database.url",
            expected=f"a SQLAlchemy dialect for {url.drivername}://… to be installed",
            found="none",
            hint=_DIALECT_HINTS.get(database, "install its package, or correct the name"),
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            "database.url",
            expected=f"the driver of {url.drivername}://… to be installed",
            found=" ".join(str(error).split()),
            hint=f"install it: pip install {error.name}" if error.name else "install what it needs",
        ) from error
    if dialect.is_async:
        raise ConfigurationError(
            "database.url",
            expected="a synchronous driver",
            found=f"{url.drivername}://…",
            hint=f"write another driver of {database}",
        )


def _check_sqlite(url: URL) -> None:
    if url.host or url.username:
        raise ConfigurationError(
            "database.url",
            expected="three slashes before a relative path and four before an absolute one",
            found="two",
            hint="write sqlite:///folder/file.sqlite3",
        )
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "database.url",
            expected="a file, as in sqlite:///data/sparkle.sqlite3",
            found="an in-memory database",
            hint="set a file: connections do not share an in-memory database",
        )
    refused = sorted(_URI_PARAMETERS.intersection(url.query))
    if refused or str(url.database).startswith("file:"):
        raise ConfigurationError(
            "database.url",
            expected="the path of a file, as in sqlite:///data/sparkle.sqlite3",
            found=f"the parameter {refused[0]}" if refused else "a URI, file:…",
            hint="write the path without file: and parameters",
        )
    _check_sqlite_parameters(url)


def _check_sqlite_parameters(url: URL) -> None:
    """Check that the driver can use the parameters, which it does not do before it connects."""
    dialect = url.get_dialect()()

    def refused(query: Mapping[str, str | tuple[str, ...]]) -> bool:
        try:
            with warnings.catch_warnings(action="ignore"):
                _, arguments = dialect.create_connect_args(url.set(query=query))
            sqlite3.connect(":memory:", **arguments).close()
        except (SQLAlchemyError, sqlite3.Error, OverflowError, TypeError, ValueError):
            return True
        return False

    if refused(url.query):
        raise refused_parameter("SQLite", url.query, refused)


def refused_parameter(
    driver: str, parameters: Mapping[str, Any], refused: Callable[[Mapping[str, Any]], bool]
) -> ConfigurationError:
    """The error for a URL whose parameters a driver refuses; it names one, but no value, which could be a secret.

    Arguments:
        driver: its name.
        refused: whether the driver refuses such parameters.
    """
    name = next((name for name, value in parameters.items() if refused({name: value})), None)
    return ConfigurationError(
        "database.url",
        expected=f"parameters that the driver {driver} can use",
        found=f"an invalid value of {name}" if name else "others",
        hint="correct or remove it" if name else "correct or remove them",
    )


def _refuse_nul(url: URL) -> None:
    """Raise ConfigurationError if there is a NUL, also as %00, which no database and no file name can contain."""
    parts = [url.host, url.username, url.password, url.database, *url.query]
    parts += [
        each for values in url.query.values() for each in ([values] if isinstance(values, str) else values)
    ]
    if any("\0" in str(part) for part in parts):
        raise ConfigurationError(
            "database.url", expected="text without NUL characters", found="one", hint="remove it (%00)"
        )


def _refuse_at_sign(text: str) -> None:
    """Raise ConfigurationError if an @ of the user name or the password is in what is taken for the rest of the URL."""
    _, _, rest = text.partition("://")
    login = _LOGIN.match(rest)
    place, _, query = rest[login.end() if login else 0 :].partition("?")
    parameters = [piece for piece in query.split("&") if piece.partition("=")[0] not in _PARAMETERS]
    if "@" in place or any("@" in piece for piece in parameters):
        raise ConfigurationError(
            "database.url",
            expected="one @, between the password and the host",
            found="another",
            hint="percent-encode the user name and the password: write @ as %40, / as %2F",
        )
