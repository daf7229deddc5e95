"""``python -m benchmarks --readings 100000 --repeat 3``: runs all measurements, and prints tables."""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.limit import openssl
from benchmarks.suite import CORES, Figures, Measurement, Suite
from benchmarks.tables import of_once, of_rates
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer

PROGRESS_KEYS = ("rate", "sql_p99", "restart", "painted", "p99", "month_p99", "stall")


def main() -> None:
    """Print tables, and write all figures to a file."""
    options = _options()
    rates: dict[str, list[Figures]] = {}
    once: dict[str, Figures] = {}

    def figures(turn: str, measurement: Measurement) -> Figures:
        name, measure = measurement
        found = measure()
        shown = next(f"{key} {found[key]:,.0f}" for key in PROGRESS_KEYS if key in found)
        print(f"{turn}  {name}: {shown}", file=sys.stderr, flush=True)
        return found

    def save() -> None:
        # After each measurement, so that results remain if a later one fails.
        if options.json:
            results = {"cores": CORES, "rates": rates, "once": once}
            options.json.write_text(json.dumps(results, indent=1) + "\n")

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparkle-bench-")))
        (folder / "kafka").mkdir()
        kafka = KafkaBroker(folder / "kafka", memory="1g", short_lived=False)
        postgres = PostgresServer(folder, fsync=True)
        stack.callback(postgres.remove)
        suite = Suite(folder, kafka, postgres, options.readings)
        repeated, measured_once = list(suite.rates()), list(suite.once(options.rows, options.flood))
        names = [name for name, _ in repeated + measured_once]
        if not any(options.only in name for name in names):
            sys.exit(
                f"--only: expected part of a name, found {options.only!r}; the names are: {'; '.join(names)}"
            )
        stack.callback(kafka.kill)
        kafka.start()
        postgres.start()
        for turn in range(options.repeat):
            for measurement in _selected(repeated, options.only):
                # The limit is measured each time, because the speed of a shared machine varies.
                limit = openssl(CORES)
                found = figures(f"{turn + 1}/{options.repeat}", measurement)
                rates.setdefault(measurement[0], []).append({**found, "limit": limit})
                save()
        for measurement in _selected(measured_once, options.only):
            once[measurement[0]] = figures("once", measurement)
            save()
    tables = [of_rates(rates)] if rates else []
    if once:
        tables.append(of_once(once))
    print("\n\n".join(tables))


def _selected(measurements: Iterable[Measurement], part: str) -> list[Measurement]:
    return [measurement for measurement in measurements if part in measurement[0]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--readings", type=_positive, default=100_000, help="number of readings in each backlog"
    )
    parser.add_argument("--repeat", type=_positive, default=3, help="how often rates are measured")
    parser.add_argument(
        "--rows",
        type=_positive,
        nargs="*",
        default=[10_000, 1_000_000, 10_000_000],
        help="numbers of stored readings for the growth measurements; retention is measured with the largest",
    )
    parser.add_argument(
        "--flood",
        type=_positive,
        default=1_000_000,
        help="number of readings in the backlog of the backpressure measurement",
    )
    parser.add_argument("--only", default="", help="run only measurements whose name contains this")
    parser.add_argument(
        "--json", type=Path, help="file for all figures (default: bench.json; none with --only)"
    )
    options = parser.parse_args()
    if options.json is None and not options.only:
        options.json = Path("bench.json")
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


if __name__ == "__main__":
    main()
