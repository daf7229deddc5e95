"""The parameters in URLs of databases: which are shown, which say where the database is, and which a driver refuses."""

import os
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from sqlalchemy.engine import URL

from sparkle_app.model.errors import ConfigurationError

# Parameters of a connection to a server that are no secrets. The values of others are masked.
_SHOWN_PARAMETERS = {
    "application_name", "channel_binding", "charset", "collation", "connect_timeout", "gssencmode", "host",
    "hostaddr", "mode", "options", "port", "read_default_file", "read_default_group", "service", "service_name",
    "ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_disabled", "ssl_key",
    "ssl_verify_cert", "ssl_verify_identity", "sslcert", "sslkey", "sslmode", "sslrootcert", "target_session_attrs",
    "unix_socket", "user",
}  # fmt: skip
# Those that say where a database is.
_PLACE_PARAMETERS = {
    "config_dir", "database", "db", "dbname", "dsn", "host", "hostaddr", "instance_name", "port", "read_default_file",
    "read_default_group", "service", "service_name", "sid", "unix_socket",
}  # fmt: skip
PARAMETERS = _SHOWN_PARAMETERS | {"passfile", "passwd", "password", "ssl_key_password", "sslpassword"}
"""All that are known."""


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


def refuse_unknown(driver: str, example: str, parameters: Iterable[str], known: Container[str]) -> None:
    """Raise ConfigurationError for a parameter that a driver does not have.

    Arguments:
        driver: its name.
        example: a parameter that it has.
    """
    for name in parameters:
        if name not in known:
            raise ConfigurationError(
                "database.url",
                expected=f"parameters that the driver {driver} has, such as {example}",
                found=name,
                hint="correct or remove it",
            )


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
