"""``python -m benchmarks --readings 100000 --repeat 3``: measures side by side, and prints tables."""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.limit import openssl
from benchmarks.suite import CORES, Figures, Measurement, Suite
from benchmarks.tables import of_once, of_rates
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer

FIRST_TO_SHOW = ("rate", "sql_p99", "restart")


def main() -> None:
    """Print the tables, and write every figure to the file of ``--json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--readings", type=int, default=100_000, help="of each backlog")
    parser.add_argument("--repeat", type=int, default=3, help="times that the rates are measured")
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[10_000, 1_000_000, 10_000_000], help="for growth"
    )
    parser.add_argument(
        "--flood", type=int, default=1_000_000, help="readings that wait while memory is watched"
    )
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="takes every figure")
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    options = parser.parse_args()
    rates: dict[str, list[Figures]] = {}
    once: dict[str, Figures] = {}

    def figures(turn: str, measurement: Measurement) -> Figures:
        name, measure = measurement
        found = measure()
        shown = next(f"{key} {found[key]:,.0f}" for key in FIRST_TO_SHOW if key in found)
        print(f"{turn}  {name}: {shown}", file=sys.stderr, flush=True)
        return found

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparkle-bench-")))
        (folder / "kafka").mkdir()
        kafka = KafkaBroker(folder / "kafka", memory="1g")
        stack.callback(kafka.kill)
        kafka.start()
        postgres = PostgresServer(folder, fsync=True)
        stack.callback(postgres.remove)
        postgres.start()
        suite = Suite(folder, kafka, postgres, options.readings)
        for turn in range(options.repeat):
            for measurement in suite.rates():
                if options.only in measurement[0]:
                    # Right before, since a machine that is shared has fast and slow minutes.
                    limit = openssl(CORES)
                    found = figures(f"{turn + 1}/{options.repeat}", measurement)
                    rates.setdefault(measurement[0], []).append({**found, "limit": limit})
        for measurement in suite.once(options.rows, options.flood):
            if options.only in measurement[0]:
                once[measurement[0]] = figures("once", measurement)
            # What was measured stays, also when a later measurement fails.
            results = {"cores": CORES, "rates": rates, "once": once}
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(of_rates(rates))
    if once:
        print()
        print(of_once(once))


if __name__ == "__main__":
    main()
