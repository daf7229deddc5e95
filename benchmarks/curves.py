"""``python -m benchmarks.curves bench.json docs``: draws the curves in docs/performance.md."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

plt.rcParams.update({"figure.figsize": (6, 3), "svg.hashsalt": "sparkle", "font.size": 9, "axes.grid": True})
Results = dict[str, dict[str, Any]]


def main() -> None:
    """Draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("source", type=Path, help="output of make bench")
    parser.add_argument("folder", help="folder for the curves")
    options = parser.parse_args()
    try:
        once: Results = json.loads(options.source.read_text())["once"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{options.source}: expected output of make bench, found {error!r}")
    folder = options.folder
    if not any(name.startswith("growth") for name in once):
        sys.exit(f"{options.source}: expected the figures of a complete run, found none of growth")
    _growth(once, r"growth, (\d+) hosts x 2", "hosts", Path(folder) / "growth-hosts.svg")
    _growth(
        once, r"growth, (\d+) raw rows before, (\w+)", "raw rows before", Path(folder) / "growth-rows.svg"
    )
    _memory(once, Path(folder) / "backpressure.svg")


def _growth(once: Results, pattern: str, what: str, file: Path) -> None:
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for name, figures in once.items():
        if found := re.fullmatch(pattern, name):
            number, *database = found.groups()
            cost = sum(figures[key] for key in ("decrypting", "worker", "broker", "database"))
            line = lines.setdefault(database[0] if database else "SQLite", [])
            line.append((int(number), cost, figures["memory"]))
    figure, (left, right) = plt.subplots(1, 2)
    for label, points in lines.items():
        numbers, costs, memory = zip(*sorted(points), strict=True)
        left.plot(numbers, costs, marker="o", label=label)
        right.plot(numbers, memory, marker="o", label=label)
    for axes, title in ((left, "CPU seconds for 1,000 readings"), (right, "memory of a worker, MB")):
        axes.set(xscale="log", xlabel=what, title=title)
        axes.set_ylim(bottom=0)
        axes.legend()
    _save(figure, file)


def _memory(once: Results, file: Path) -> None:
    figure, axes = plt.subplots()
    for name, figures in once.items():
        if name.startswith("backpressure"):
            seconds, memory = zip(*figures["watched"], strict=True)
            axes.plot(seconds, memory, label=name)
    axes.set(xlabel="seconds", title="memory of a worker, MB")
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    # Without a date, so that the same figures give the same file.
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
