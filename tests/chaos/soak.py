"""``python -m tests.chaos.soak --minutes 75 --drawing docs/soak.svg``: long operation, with its usual troubles.

The broker is restarted every ten minutes, connections are forgotten in between, and one plugin's topics stay idle.
Memory, open files and lag of each worker are drawn; at the end all guarantees are checked, as after a chaos run.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import psutil

from tests.chaos.faults.broker import restart_once
from tests.chaos.faults.network import forget_once
from tests.chaos.oracle import check
from tests.chaos.runs import drain
from tests.chaos.world import World

RATE = 80
"""Readings per second: as of 50 hosts with 16 metrics, every ten seconds."""
_SAMPLE_SECONDS = 10
_TROUBLE_SECONDS = 300
_WARM_UP = 0.2
"""Part of the time in which caches fill."""


class Sample(NamedTuple):
    """What one worker used at a time."""

    minutes: float
    worker: int
    memory: float
    """Of the worker and its processes, without shared pages, MB."""
    files: int
    """Open descriptors of the worker."""
    pending: int
    """Readings that were acknowledged and not stored, of all workers."""


def main() -> int:
    """Returns exit code 0 if every guarantee was kept, no worker exited, and nothing has grown."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="sparkle-soak-"))
    world = World(folder, random.Random(options.seed), proxied=True)
    # Buckets fill a window, and nothing grows after that.
    world.settings["aggregates__window_retention_seconds"] = 900
    _add_idle_plugin(world)
    try:
        world.start()
        world.sender.start(RATE)
        samples, troubles = _run(world, options.minutes * 60)
        world.sender.stop()
        problems = [*drain(world), *check(world).examples]
        if world.restarts:
            problems.append(f"{world.restarts} exits of workers")
        problems += world.stop()
    finally:
        world.kill()
    problems += _growth(samples)
    _draw(samples, troubles, options.drawing)
    print(
        f"{len(world.sender.acknowledged()):,} records in {options.minutes} minutes, {len(troubles)} troubles"
    )
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"logs in {folder}", file=sys.stderr)
    return 1


def _add_idle_plugin(world: World) -> None:
    """A plugin with a topic to which nobody sends."""
    package = world.workspace.plugins / "idle"
    shutil.copytree(world.workspace.plugins / "temperature", package)
    for name, old, new in (
        ("manifest.py", '"Temperature"', '"Idle"'),
        ("manifest.py", f'"{world.workspace.topic}"', f'"{world.workspace.topic}-idle"'),
        ("server.py", "temperature_", "idle_"),
    ):
        text = (package / name).read_text("utf-8")
        assert old in text, (name, old)
        (package / name).write_text(text.replace(old, new), "utf-8")


def _run(world: World, seconds: float) -> tuple[list[Sample], list[tuple[float, str]]]:
    samples: list[Sample] = []
    troubles: list[tuple[float, str]] = []
    started = time.monotonic()
    next_trouble = started + _TROUBLE_SECONDS / 2
    while (now := time.monotonic()) < started + seconds:
        minutes = (now - started) / 60
        if now >= next_trouble:
            restart = len(troubles) % 2 == 0
            for wait in (restart_once if restart else forget_once)(world):
                world.pause(wait)
            troubles.append((minutes, "broker restarted" if restart else "connections forgotten"))
            next_trouble += _TROUBLE_SECONDS
        pending = world.pending()
        for number, worker in enumerate(world.workers):
            if worker.process.running:
                samples.append(Sample(minutes, number, *_used(psutil.Process(worker.process.pid)), pending))
        world.pause(_SAMPLE_SECONDS)
    return samples, troubles


def _used(process: psutil.Process) -> tuple[float, int]:
    family = [process, *process.children(recursive=True)]
    return sum(each.memory_full_info().uss for each in family) / 1e6, process.num_fds()


def _growth(samples: list[Sample]) -> list[str]:
    """What has grown by more than a tenth between the two halves after the warm-up; prints the medians."""
    problems = []
    end = max(sample.minutes for sample in samples)
    settled = [sample for sample in samples if sample.minutes >= _WARM_UP * end]
    middle = (1 + _WARM_UP) / 2 * end
    for number in sorted({sample.worker for sample in samples}):
        for what in ("memory", "files"):
            early, late = (
                _median(
                    [
                        getattr(each, what)
                        for each in settled
                        if each.worker == number and (each.minutes < middle) is first
                    ]
                )
                for first in (True, False)
            )
            print(
                f"worker {number}, {what}: {early:.0f} in the first half after the warm-up, {late:.0f} in the second"
            )
            if late > 1.1 * early:
                problems.append(f"worker {number}: {what} grew from {early:.0f} to {late:.0f}")
    return problems


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _draw(samples: list[Sample], troubles: list[tuple[float, str]], file: Path) -> None:
    plt.rcParams.update({"svg.hashsalt": "sparkle", "font.size": 9, "axes.grid": True})
    figure: Any
    figure, panels = plt.subplots(3, 1, sharex=True, figsize=(8, 6))
    for axes, what, title in zip(
        panels,
        ("memory", "files", "pending"),
        (
            "memory of a worker and its processes, MB",
            "open descriptors of a worker",
            "readings not stored yet",
        ),
        strict=True,
    ):
        for number in sorted({sample.worker for sample in samples}):
            own = [sample for sample in samples if sample.worker == number]
            axes.plot(
                [each.minutes for each in own],
                [getattr(each, what) for each in own],
                label=f"worker {number}",
            )
        for minutes, name in troubles:
            axes.axvline(
                minutes,
                color="tab:red" if name == "broker restarted" else "tab:gray",
                linewidth=0.7,
                alpha=0.6,
            )
        axes.set_title(title)
        axes.set_ylim(bottom=0)
    panels[0].legend(loc="lower right")
    panels[-1].set_xlabel("minutes; red: the broker is restarted, grey: connections are forgotten")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drawing", type=Path, default=Path("soak.svg"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
