"""The section ``retention`` of the settings: how long rows are kept."""

import json
import re
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from sparkle_app.config.sections import Section
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import Retention

FOREVER = "forever"
_UNITS = {"d": 1, "w": 7, "y": 365}
_MAX_DAYS = 36_500


def _duration(text: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([dwy])", text)
    if text != FOREVER and not (found and int(found[1]) * _UNITS[found[2]] <= _MAX_DAYS):
        raise ValueError("whole days, weeks or years, such as 90d, 12w or 3y, up to 100y, or forever")
    return text


def _from_json(value: Any) -> Any:
    # Not by pydantic-settings, whose error does not name the environment variable.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('JSON such as {"Temperature": {"readings": "30d"}}') from None


def _seconds(text: str) -> int | None:
    return None if text == FOREVER else int(text[:-1]) * _UNITS[text[-1]] * 86_400


Duration = Annotated[str, AfterValidator(_duration)]


class PluginRetention(Section):
    """Keys below the NAME of a plugin; those that are not set are as for other plugins."""

    readings: Duration | None = None
    buckets: Duration | None = None
    hours: Duration | None = None
    days: Duration | None = None


class RetentionSettings(Section):
    readings: Duration = "90d"
    """How long readings are kept: whole days, weeks or years of 365 days (`90d`, `12w`, `3y`), up to `100y`, or \
`forever`. Longer than `aggregates.window_retention_seconds`."""
    buckets: Duration = "30d"
    """How long aggregates of `aggregates.bucket_seconds` are kept. Longer than \
`aggregates.window_retention_seconds`."""
    hours: Duration = "3y"
    """How long hourly aggregates are kept; not shorter than `buckets`."""
    days: Duration = FOREVER
    """How long daily aggregates are kept; not shorter than `hours`."""
    plugins: Annotated[dict[str, PluginRetention], NoDecode, BeforeValidator(_from_json)] = Field(default={})
    """Other durations for single plugins: `Temperature: {readings: 30d}`."""
    interval_seconds: int = Field(default=300, ge=1, le=86_400)
    """How often a worker computes hourly and daily aggregates, and deletes expired rows."""

    def of(self, plugin: str) -> Retention:
        """How long the rows of a plugin are kept.

        Arguments:
            plugin: its NAME.
        """
        own = self.plugins.get(plugin, PluginRetention())
        texts = (getattr(own, name) or getattr(self, name) for name in Retention.__struct_fields__)
        return Retention(*map(_seconds, texts))

    @model_validator(mode="after")
    def _coarser_ones_last(self) -> Self:
        for plugin in (None, *self.plugins):
            kept = self.of(plugin or "")
            for finer, coarser in pairwise(("buckets", "hours", "days")):
                if _is_longer(getattr(kept, finer), getattr(kept, coarser)):
                    prefix = f"retention.plugins.{plugin}" if plugin else "retention"
                    raise ConfigurationError(
                        f"{prefix}.{coarser}",
                        expected=f"at least as long as {finer} ({self._text(plugin, finer)})",
                        found=self._text(plugin, coarser),
                        hint="change either setting",
                    )
        return self

    def require_window(self, seconds: int) -> None:
        """Check that what windows are restored from is kept.

        Arguments:
            seconds: ``aggregates.window_retention_seconds``.

        Raises:
            ConfigurationError: if it is not.
        """
        for plugin in (None, *self.plugins):
            kept = self.of(plugin or "")
            for name in ("readings", "buckets"):
                if not _is_longer(getattr(kept, name), seconds):
                    prefix = f"retention.plugins.{plugin}" if plugin else "retention"
                    raise ConfigurationError(
                        f"{prefix}.{name}",
                        expected=f"longer than aggregates.window_retention_seconds ({seconds})",
                        found=self._text(plugin, name),
                        hint="change either setting",
                    )

    def _text(self, plugin: str | None, name: str) -> str:
        own = getattr(self.plugins[plugin], name) if plugin else None
        return str(own or getattr(self, name))


def _is_longer(one: int | None, other: int | None) -> bool:
    return other is not None and (one is None or one > other)
