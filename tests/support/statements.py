"""Databases whose statements are those that suit any database."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from sparkle_app.storage.dialects.base import Dialect


class WithoutOwnStatements(Dialect):
    """Connections and errors of a database, with the statements and types of no database in particular."""

    def __init__(self, own: Dialect) -> None:
        self._own = own
        self.max_writers = own.max_writers
        self.infinity = own.infinity

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """As the database."""
        return self._own.create_engine(url, for_command=for_command, pool=pool)

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """As the database."""
        return self._own.read_options(engine)

    def is_own(self, error: BaseException) -> bool:
        """As the database."""
        return self._own.is_own(error)

    def is_transient(self, error: Any) -> bool:
        """As the database."""
        return self._own.is_transient(error)

    def is_lock_conflict(self, error: Any) -> bool:
        """As the database."""
        return self._own.is_lock_conflict(error)
