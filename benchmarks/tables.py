"""Formats figures as Markdown tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_CPU = ("decrypting", "worker", "broker", "database")


def of_rates(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Median rates, also relative to the limit, with their spread; CPU seconds per 1,000 readings; memory.

    The limit is the median over all runs of ``openssl speed``, because a single one may be too low.
    """
    lines = [
        f"| | readings/s | of the limit | spread | {' | '.join(_CPU)} | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    limits = [figures["limit"] for turns in results.values() for figures in turns]
    limit = statistics.median(limits)
    spread = f"{min(limits) / limit:.1%} to {max(limits) / limit:.1%}"
    lines.append(f"| openssl speed, all cores | {limit:,.0f} | 100.0% | {spread} | | | | | |")
    for name, turns in results.items():
        rates = [figures["rate"] for figures in turns]
        shares = [rate / limit for rate in rates]
        cells = [f"{statistics.median(rates):,.0f}", f"{statistics.median(shares):.1%}"]
        cells.append(f"{min(shares):.1%} to {max(shares):.1%}")
        for key in (*_CPU, "memory"):
            found = [figures[key] for figures in turns if key in figures]
            unit = "{:.0f} MB" if key == "memory" else "{:.3f} s"
            cells.append(unit.format(statistics.median(found)) if found else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def of_once(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The numeric figures of each measurement."""
    lines = ["| | |", "|---|---|"]
    for name, figures in results.items():
        watched = figures.get("watched")
        numbers = {**figures, **watched} if isinstance(watched, dict) else figures
        shown = [f"{key} {value:,.4g}" for key, value in numbers.items() if isinstance(value, int | float)]
        lines.append(f"| {name} | {', '.join(shown)} |")
    return "\n".join(lines)
