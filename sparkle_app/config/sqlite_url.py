"""The URL of an SQLite file."""

import sqlite3
import warnings
from collections.abc import Mapping

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.config.url_parameters import refused_parameter
from sparkle_app.model.errors import ConfigurationError

# Of SQLite's own URIs, whose files the handler would not find.
_URI_PARAMETERS = {"cache", "immutable", "mode", "modeof", "nolock", "psow", "uri", "vfs"}


def check_sqlite(url: URL) -> None:
    """Check that it is a file that the handler would find, with parameters that the driver can use.

    Raises:
        ConfigurationError: if it is not.
    """
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
    if str(url.database).startswith("~"):
        raise ConfigurationError(
            "database.url",
            expected="a path without ~, which only a shell replaces",
            found=f"sqlite:///{url.database}",
            hint="write the absolute path, after sqlite:///",
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
