"""How the settings that are URLs are checked."""

import re
from importlib.util import find_spec
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from sparkle_app.config.sqlite_url import check_sqlite
from sparkle_app.config.url_parameters import PARAMETERS
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
        check_sqlite(url)
    else:
        _refuse_at_sign(text)
    return SecretStr(url.render_as_string(hide_password=False))


def http_url(value: str | None) -> str | None:
    """An HTTP or HTTPS URL without a login: workers log it.

    Raises:
        ConfigurationError: if it is another.
    """
    if value and "@" in value:
        raise _not_public(
            "one with a user name or password", "remove it; workers authenticate with certs/internal_key"
        )
    if value and not _is_http(value):
        raise _not_public(repr(value), "write http:// or https://, and a host")
    return value


def _not_public(found: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        "web.public_url", expected="a URL such as http://worker-1:6066", found=found, hint=hint
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Raises ValueError if it is not a number from 0 to 65535.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


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
    parameters = [piece for piece in query.split("&") if piece.partition("=")[0] not in PARAMETERS]
    if "@" in place or any("@" in piece for piece in parameters):
        raise ConfigurationError(
            "database.url",
            expected="one @, between the password and the host",
            found="another",
            hint="percent-encode the user name and the password: write @ as %40, / as %2F",
        )
