"""One run: start, inject faults, wait for recovery, check the guarantees."""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.chaos.databases import DATABASE_ERRORS, DATABASES
from tests.chaos.faults import FAULTS, NEED_CLOCKS, NEED_PROXIES, conflict
from tests.chaos.faults.commands import replay_remaining
from tests.chaos.oracle import Verdict, check, differences
from tests.chaos.sending import PLUGINS
from tests.chaos.world import READINGS, World

RATE = 150
"""Records produced per second."""
BURST = 1500
"""Records produced at once before the first fault."""
DRAIN_SECONDS = 240
NEW_RECORD_SECONDS = 30
_BETWEEN_SECONDS = 3


@dataclass
class Run:
    """The result of a run."""

    seed: int
    faults: Sequence[str]
    records: int
    pending: Sequence[int]
    """Acknowledged readings that were not stored yet when each fault began."""
    verdict: Verdict
    recovered: float
    """Seconds from the end of the last fault until another reading was stored."""
    new_record: float
    """Seconds until a record was stored that was produced after all others had been processed."""
    seconds: float
    problems: Sequence[str]
    """Other problems, such as a fault without effect, or a process that did not exit."""

    @property
    def good(self) -> bool:
        """Whether there was no violation and no other problem."""
        return self.verdict.good and not self.problems


def run(seed: int, names: Sequence[str] = (), keep: bool = False, database: str = "postgresql") -> Run:
    """Inject the faults ``names``, or one or two that are chosen by the seed.

    Arguments:
        keep: keep the logs of a failed run.
        database: one of DATABASES.

    Raises:
        AssertionError: if a fault could not be injected.
    """
    rng = random.Random(seed)
    chosen = bool(names)
    while not names or (conflict(names) and not chosen):
        names = rng.sample(sorted(FAULTS), rng.choice((1, 2)))
    folder = Path(tempfile.mkdtemp(prefix="sparkle-chaos-"))
    world = World(
        folder,
        rng,
        DATABASES[database],
        proxied=not NEED_PROXIES.isdisjoint(names),
        stepping=not NEED_CLOCKS.isdisjoint(names),
    )
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    try:
        world.start()
        world.sender.burst(BURST)
        world.sender.start(RATE)
        pending = _inject(world, names)
        ended = time.monotonic()
        recovered = _next_stored_at(world) - ended
        world.sender.stop()
        problems = [
            f"{name}: no record was pending" for name, n in zip(names, pending, strict=True) if n <= 0
        ]
        if world.key_added:
            replay_remaining(world, DRAIN_SECONDS)
        problems += drain(world)
        new_record = _time_new_record(world)
        if new_record > NEW_RECORD_SECONDS:
            problems.append(f"a new record took {new_record:.0f} s")
        verdict = check(world)
        problems += world.stop()
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE:
                problems.append(f"a process was left: {child.name()} {child.pid}")
        result = Run(
            seed, names, len(world.sender.acknowledged()), pending, verdict, recovered, new_record,
            time.monotonic() - started, problems,
        )  # fmt: skip
    finally:
        world.kill()
    if keep and not result.good:
        result.problems = [*result.problems, f"logs in {folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _inject(world: World, names: Sequence[str]) -> list[int]:
    """Inject the faults, the second during the first; returns how many readings were pending when each began."""
    pending: list[int] = []
    running: list[tuple[float, Iterator[float]]] = []
    waiting = list(names)
    due = time.monotonic()
    while waiting or running:
        now = time.monotonic()
        if waiting and now >= due:
            if pending:
                world.sender.burst(BURST // 2)
            world.sender.flush_for()
            pending.append(world.pending())
            running.append((now, FAULTS[waiting.pop(0)](world)))
            due = now + _BETWEEN_SECONDS
        for index, (at, fault) in enumerate(running):
            if time.monotonic() >= at:
                wait = next(fault, None)
                if wait is None:
                    del running[index]
                else:
                    running[index] = time.monotonic() + wait, fault
                break
        world.pause(0.1)
    return pending


def _next_stored_at(world: World) -> float:
    """When the next reading was stored, in monotonic seconds."""
    rows = world.stored()
    deadline = time.monotonic() + DRAIN_SECONDS
    while world.stored() <= rows and time.monotonic() < deadline:
        world.pause(0.2)
    return time.monotonic()


def drain(world: World) -> list[str]:
    """Wait until all readings are stored and counted; returns a problem if they are not."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        world.pause(1)
        try:
            if world.pending() <= 0 and not any(differences(world, table) for table in READINGS):
                return [] if _ready(world, deadline) else ["not all workers are ready after the run"]
        except DATABASE_ERRORS:
            continue
    return [f"not drained within {DRAIN_SECONDS} s: {world.pending()} readings pending"]


def _ready(world: World, deadline: float) -> bool:
    while time.monotonic() < deadline:
        if all(worker.ready() for worker in world.workers):
            return True
        world.pause(0.5)
    return False


def _time_new_record(world: World) -> float:
    """Seconds from producing one more record until it is stored."""
    started = time.monotonic()
    before = world.stored()
    world.sender.send(world.sender.make(value=25.0, plugin=PLUGINS[0]))
    world.sender.flush()
    while world.stored() <= before and time.monotonic() - started < 2 * NEW_RECORD_SECONDS:
        world.pause(0.05)
    taken = time.monotonic() - started
    # Wait until it is counted, so that aggregates can be compared.
    drain(world)
    return taken


def as_json(run: Run) -> str:
    """The result as one line of JSON."""
    return json.dumps({**vars(run), "verdict": vars(run.verdict)})
