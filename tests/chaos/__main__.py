"""``python -m tests.chaos --runs 20 --seed 1``: injects faults, and prints a line for each run."""

import argparse
import sys

from tests.chaos.databases import DATABASES
from tests.chaos.faults import FAULTS
from tests.chaos.runs import Run, run

HEADER = (
    "seed", "faults", "records", "backlog", "lost", "duplicated", "wrong", "aggregates", "HTTP", "rewritten",
    "recovery", "new record",
)  # fmt: skip


def main() -> int:
    """Returns exit code 0 if no run violated a guarantee."""
    options = _options()
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER), flush=True)
    good = 0
    for seed in range(options.seed, options.seed + options.runs):
        try:
            done = run(seed, options.faults or (), keep=True, database=options.database)
        except Exception as error:
            # A run that could not be completed is a failure.
            print(f"| {seed} | FAILED: {' '.join(str(error).split())[:200]} |", flush=True)
            continue
        good += done.good
        print(_line(done), flush=True)
        for problem in [*done.problems, *done.verdict.examples]:
            print(f"  {problem}", file=sys.stderr, flush=True)
    print(f"\n{good} of {options.runs} runs kept every guarantee")
    return 0 if good == options.runs else 1


def _line(done: Run) -> str:
    verdict = done.verdict
    cells = (
        done.seed, ", ".join(done.faults), done.records, ", ".join(map(str, done.pending)), verdict.lost,
        verdict.duplicated, verdict.wrong, verdict.aggregates, verdict.http, verdict.rewritten,
        f"{done.recovered:.1f} s", f"{done.new_record:.1f} s" + (" FAILED" if not done.good else ""),
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first run; each further run uses the next number"
    )
    parser.add_argument("--database", choices=sorted(DATABASES), default="postgresql")
    parser.add_argument(
        "--fault", dest="faults", action="append", choices=sorted(FAULTS), metavar="NAME",
        help="inject this fault instead of random ones; may be repeated: " + ", ".join(sorted(FAULTS)),
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
