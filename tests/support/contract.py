"""Tables and rows of the database contract."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.reading import Reading
from sparkle_app.plugin_api import AggregatesTable, ReadingsTable
from sparkle_app.storage.readings import insert_new

START = 1_764_000_000_000_000
"""Start of an hour."""
SECOND = 1_000_000
HOUR = 3600 * SECOND
TEXTS = (
    "plain", "PLAIN", "plain ", " plain", "it's", 'a "quoted" one', "back\\slash", "line\nand\ttab", "{}", "NULL", "",
    "температура", "e\u0301", "\u00e9", "🌡", "x" * 255,
)  # fmt: skip
"""Different texts, some of which collations consider equal."""


class Readings(ReadingsTable):
    __tablename__ = "contract_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "contract_aggregates"


READINGS, AGGREGATES = Readings.__table__, Aggregates.__table__


def reading(number: int, **fields: Any) -> Reading:
    given = Reading(
        id=number.to_bytes(16),
        config_id=1,
        hostname="host",
        plugin="Contract",
        key="k",
        value=float(number),
        observed_at=START + number * SECOND,
        received_at=START + number * SECOND + 1,
        clock_trusted=True,
        topic="t",
        partition=3,
        offset=2**40 + number,
    )
    return msgspec.structs.replace(given, **fields)


def aggregate(count: int, hostname: str = "host", metric: str = "k", at: int = START) -> AggregateRow:
    return AggregateRow(
        hostname, metric, 60, at, Statistics(count, 1.5 * count, -1.0, count, 0.1, at + count)
    )


def store(engine: Engine, readings: Sequence[Reading]) -> set[bytes]:
    with engine.begin() as connection:
        return insert_new(connection, READINGS, readings)
