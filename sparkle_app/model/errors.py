"""The three kinds of failure. The type of an exception determines what happens.

* :class:`InvalidRecordError`: the record itself is invalid. It becomes a dead letter, and its partition goes on.
* :class:`TransientError`: the database, the broker or a plugin does not work at this moment. The operation is retried
  with backoff, and nothing is acknowledged meanwhile.
* :class:`ConfigurationError`: the handler cannot work as it is configured. The process exits with one line.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record became a dead letter: the same word in the exception, the log, the metric and the header."""

    NOT_JSON = "not_json"
    """The value is not a UTF-8 JSON object."""
    BAD_FIELD = "bad_field"
    """A field of the record is missing or has the wrong type."""
    BAD_HOSTNAME = "bad_hostname"
    """The hostname is empty, too long, or contains NUL or a lone surrogate."""
    BAD_DATETIME = "bad_datetime"
    """The datetime is not ISO 8601, or has a UTC offset."""
    BAD_BASE64 = "bad_base64"
    """The payload is not base64."""
    UNKNOWN_CONFIG = "unknown_config"
    """There is no private key for the record's config_id."""
    UNDECRYPTABLE = "undecryptable"
    """The payload does not decrypt with the key of its config_id."""
    BAD_PAYLOAD = "bad_payload"
    """The decrypted payload is not a JSON object with the fields that collectors send."""
    UNKNOWN_PLUGIN = "unknown_plugin"
    """No installed plugin has the payload's plugin NAME."""
    INVALID_VALUE = "invalid_value"
    """The plugin rejected the key or the value."""
    TOO_MANY_METRICS = "too_many_metrics"
    """The host has too many distinct metrics in the reading's bucket."""
    REFUSED_BY_DATABASE = "refused_by_database"
    """The database rejected this row."""


class InvalidRecordError(Exception):
    """A record, or one of its readings, that can never be stored.

    Arguments:
        reason: for headers, logs and metrics.
        detail: one line for the log, without any decrypted value.
        index: index of the reading in the record; None: the record as a whole.
        plugin: NAME of the plugin; None if the record was not decrypted.
        metric: key of the reading; None if the record was not decrypted.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        index: int | None = None,
        plugin: str | None = None,
        metric: str | None = None,
    ) -> None:
        # Exceptions are pickled with their arguments; this one is returned by processes of the decryption pool.
        super().__init__(reason, detail, index, plugin, metric)
        self.reason = reason
        self.detail = detail
        self.index = index
        self.plugin = plugin
        self.metric = metric

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class TransientError(Exception):
    """The database, the broker or a plugin does not work at this moment; a retry may succeed.

    Arguments:
        message: one line.
        hint: how to correct it; None if the cause is not known.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(Exception):
    """The handler cannot work as it is configured. ``str()`` is the line that the user sees.

    Arguments:
        where: the setting, file or variable that is wrong.
        expected: what would be valid.
        found: what was found instead.
        hint: how to correct it.
    """

    def __init__(self, where: str, *, expected: str, found: str, hint: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}; {hint}")
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
