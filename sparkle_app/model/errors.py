"""Every failure has one of three fates, and its type says which.

* :class:`InvalidRecordError`: the record itself is wrong. It goes to the dead-letter topic and its partition goes on.
* :class:`TransientError`: something outside is not there right now. The same work is tried again with backoff;
  nothing is acknowledged meanwhile.
* :class:`ConfigurationError`: the handler cannot do its work as it is set up. It stops with one line.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record became a dead letter: one word, the same in exception, log, metric and header."""

    NOT_JSON = "not_json"
    """The value is not a UTF-8 JSON object."""
    BAD_FIELD = "bad_field"
    """A field of the record is missing or of the wrong type."""
    BAD_HOSTNAME = "bad_hostname"
    """The hostname is empty, too long, or holds NUL or a lone surrogate."""
    BAD_DATETIME = "bad_datetime"
    """The datetime is not ISO 8601, carries an offset, or is outside the years 2000 to 2100."""
    BAD_BASE64 = "bad_base64"
    """The payload is not base64."""
    UNKNOWN_CONFIG = "unknown_config"
    """There is no private key for the record's config_id."""
    UNDECRYPTABLE = "undecryptable"
    """The payload does not decrypt with the key of its config_id."""
    BAD_PAYLOAD = "bad_payload"
    """The decrypted payload is not the JSON object that a collector makes."""
    UNKNOWN_PLUGIN = "unknown_plugin"
    """No installed plugin has the payload's plugin NAME."""
    INVALID_VALUE = "invalid_value"
    """The plugin refuses the key or the value."""
    REFUSED_BY_DATABASE = "refused_by_database"
    """The database refuses this one row."""


class InvalidRecordError(Exception):
    """A record that can never be stored as it is.

    Arguments:
        reason: the closed-list word that headers, logs and metrics carry.
        detail: one line for the log. It never holds a decrypted value: it may travel where the broker sees it.
        index: which reading of the record; None: the record as a whole.
    """

    def __init__(self, reason: Reason, detail: str, index: int | None = None) -> None:
        # All are arguments, so that it can be handed over between processes.
        super().__init__(reason, detail, index)
        self.reason = reason
        self.detail = detail
        self.index = index

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class TransientError(Exception):
    """Something outside (database, broker) does not work right now; trying again may help."""


class ConfigurationError(Exception):
    """The handler is set up in a way that it cannot work with. ``str()`` is the one line a user sees.

    Arguments:
        where: the setting, file or place at fault.
        expected: what would have been right.
        found: what is there.
        hint: what to do.
    """

    def __init__(self, where: str, *, expected: str, found: str, hint: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}; {hint}")
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
