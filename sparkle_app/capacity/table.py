"""Estimates as a table."""

from collections.abc import Sequence

from sparkle_app.capacity.estimate import RETAINED_DAYS, Fleet, Machine, estimate
from sparkle_app.capacity.figures import Figures


def table(measured: Figures, fleet: Fleet, machine: Machine) -> Sequence[Sequence[str]]:
    """The estimates for all databases: a heading and rows, each with its name first."""
    found = {name: estimate(measured, name, fleet, machine) for name in measured.databases}
    rows: dict[str, list[str]] = {
        "readings per second": [number(each.readings_per_second) for each in found.values()],
        "busy cores: workers, Kafka, database": [
            ", ".join(map(number, (each.worker_cores, each.broker_cores, each.database_cores)))
            for each in found.values()
        ],
        "cores to install": [str(each.cores) for each in found.values()],
        "workers": [str(each.workers) for each in found.values()],
        "memory of the workers": [size(each.memory) for each in found.values()],
        "database, per day": [size(each.database_bytes_per_day) for each in found.values()],
        f"database, after {fleet.days} days": [size(each.database_bytes) for each in found.values()],
        "growth in the year after": [size(each.database_bytes_per_year) for each in found.values()],
        f"Kafka, {RETAINED_DAYS} days": [size(each.kafka_bytes) for each in found.values()],
        "bottleneck": [
            f"{each.bottleneck} ({_share(each.shares[each.bottleneck])})" for each in found.values()
        ],
    }
    return [["", *found], *([name, *cells] for name, cells in rows.items())]


def number(value: float) -> str:
    """With two significant digits, or as an integer."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _share(value: float) -> str:
    return f"{value:.0%}" if value < 10 else f"{value:,.0f} times"


def size(value: float) -> str:
    """Bytes, as ``1.5 GB``."""
    for unit, bytes_ in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= bytes_:
            return f"{number(value / bytes_)} {unit}"
    return f"{value / 1e3:.0f} kB"
