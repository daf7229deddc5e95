"""Dead letters: counts, lists, and one with what would become of its record now."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from sparkle_app.dead_letters.selection import Filter
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.ingest.decryption_pool import decrypt_readings
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Record
from sparkle_app.model.time import from_seconds, rfc3339, span
from sparkle_app.web.api.dead_letter_cache import DeadLetterCache, DeadLetterInfo
from sparkle_app.web.api.parameters import DEFAULT_ENTRIES, LIMIT, choice, integer, text
from sparkle_app.web.api.responses import MadeAt
from sparkle_app.web.api.route import Route
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.snapshots.query_cache import QueryCache

FILTERS = (
    choice("reason", "Only those with this reason. Default: all.", [each.value for each in Reason]),
    text("host", "Only those of this host: the whole hostname, or as it is listed. Default: all."),
    text("config", "Only those with this config id, as it is listed. Default: all."),
    text("topic", "Only those of records of this topic. Default: all."),
)
_PATH = "/api/v1/dead-letters"
_LISTED_HOSTS = 50
_HOURS = 48


class DeadLettersResponse(msgspec.Struct, kw_only=True):
    """Counts of the chosen dead letters, and a page of them, those of the newest records first."""

    made_at: MadeAt
    total: int
    left_out: int
    """How many old ones are neither counted nor listed, because there are too many; 500,000: or more."""
    by_reason: dict[str, int]
    by_host: dict[str, int]
    """The hosts with the most."""
    hosts: int
    """The number of all of them."""
    by_config: dict[str, int]
    """The configs with the most."""
    configs: int
    """The number of all of them."""
    by_hour: dict[str, int]
    """Of the last two days, by the hour in which the record was received."""
    dead_letters: list[DeadLetterInfo]


class DeadLetterResponse(msgspec.Struct, kw_only=True):
    """One dead letter."""

    dead_letter: DeadLetterInfo
    value: str
    """The value of the record as it was received, at most 20,000 characters. Its payload is encrypted."""
    would_be_stored: bool | None
    """Whether `replay` would store it now, as far as it is known before it is written to the database; null: the dead
    letter does not contain the value."""
    obstacle: str | None
    """Why it would not be stored."""


class DeadLetters:
    """Answers queries of dead letters."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._cache = DeadLetterCache(parts)
        self._query_cache = QueryCache(parts.slices)

    def page_route(self) -> Route:
        """Counts and pages."""
        return Route(
            _PATH,
            "Dead letters: counts, and a page of the newest",
            DeadLettersResponse,
            self.page,
            (
                *FILTERS,
                LIMIT,
                integer(
                    "offset",
                    "Number of entries to skip (those of previous pages). Default: 0.",
                    999_999_999,
                    0,
                ),
            ),
            problems={503: "The broker does not answer"},
            tagged=True,
        )

    def one_route(self) -> Route:
        """One dead letter."""
        return Route(
            f"{_PATH}/{{key}}",
            "One dead letter, and whether its record would be stored now",
            DeadLetterResponse,
            self.one,
        )

    async def page(self, limit: int | None, offset: int | None, **filters: Any) -> Tagged:
        """Counts of the chosen dead letters, and one page, the newest first.

        Raises:
            Problem: 503, when the broker does not answer.
        """
        query = Filter(**filters), limit or DEFAULT_ENTRIES, offset or 0
        await self._cache.update()
        return await self._query_cache.get(
            self._cache.read_at, self._cache.made_at, query, lambda: self._page(*query)
        )

    async def _page(self, chosen: Filter, limit: int, offset: int) -> Tagged:
        made_at, left_out = self._cache.made_at, self._cache.left_out
        found = []
        reasons: Counter[str] = Counter()
        hosts: Counter[str] = Counter()
        configs: Counter[str] = Counter()
        hours: Counter[int] = Counter()
        since = from_seconds(self._parts.clock.now()) - span(_HOURS * 3600)
        async with self._parts.slices.computation() as computation:
            for each in self._cache.newest_first:
                await computation.pause()
                fields = each.fields
                if not chosen.matches(fields):
                    continue
                found.append(each)
                reasons[fields.reason] += 1
                hosts[fields.host] += 1
                configs[fields.config] += 1
                if fields.received_at >= since:
                    hours[fields.received_at - fields.received_at % span(3600)] += 1
        return Tagged(
            DeadLettersResponse(
                made_at=rfc3339(made_at),
                total=len(found),
                left_out=left_out,
                by_reason=dict(reasons.most_common()),
                by_host=dict(hosts.most_common(_LISTED_HOSTS)),
                hosts=len(hosts),
                by_config=dict(configs.most_common(_LISTED_HOSTS)),
                configs=len(configs),
                by_hour={rfc3339(at): number for at, number in sorted(hours.items())},
                dead_letters=[each.info for each in found[offset : offset + limit]],
            )
        )

    async def one(self, key: str) -> DeadLetterResponse:
        """One dead letter, and whether its record would be stored now.

        Raises:
            Problem: 404, when there is none with this key; 503, when the broker does not answer.
        """
        await self._cache.update()
        summary = self._cache.get(key.encode("utf-8", "surrogateescape"))
        if summary is None:
            raise Problem(404, f"key: expected that of a dead letter, found {key[:300]!r}")
        dead_letter = await self._cache.whole(summary.position)
        if dead_letter is None:
            raise Problem(404, f"key: the dead letter {key[:300]!r} has been replayed or discarded")
        stored, why = None, "the dead letter does not contain the value of its record"
        if dead_letter.whole:
            stored, why = await asyncio.get_running_loop().run_in_executor(
                self._parts.readers, self._attempt, dead_letter.record, dead_letter.index
            )
        return DeadLetterResponse(
            dead_letter=summary.info,
            value=dead_letter.record.value.decode("utf-8", "replace")[:20_000],
            would_be_stored=stored,
            obstacle=why or None,
        )

    def _attempt(self, record: Record, index: int | None) -> tuple[bool, str]:
        plugins = {name: each.plugin for name, each in self._parts.plugins.items()}
        (outcome,) = decrypt_readings([record], self._parts.keyring, plugins, decrypt_each)
        errors = [error for error in outcome.errors if error.index in {None, index}]
        return not errors, "; ".join(str(error) for error in errors)
