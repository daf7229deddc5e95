"""One run: start, break, wait until it is well again, judge."""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from tests.chaos.faults import FAULTS, clash
from tests.chaos.faults.commands import replay_the_rest
from tests.chaos.oracle import Verdict, differences, judge
from tests.chaos.sending import PLUGINS
from tests.chaos.world import READINGS, World

RATE = 150
"""Records a second that are sent all the time."""
BURST = 1500
"""Records that wait when a fault begins."""
DRAIN_SECONDS = 240
FRESH_SECONDS = 30
_BETWEEN_SECONDS = 3


@dataclass
class Run:
    """What a run found."""

    seed: int
    faults: Sequence[str]
    records: int
    left: Sequence[int]
    """Acknowledged readings that were no rows yet when each fault began."""
    verdict: Verdict
    recovered: float
    """Seconds from the end of the last fault until a new row was stored."""
    fresh: float
    """Seconds that a record took that was sent when all was drained."""
    seconds: float
    faulty: Sequence[str]
    """What else is wrong: a fault that hit nothing, a process that was left."""

    @property
    def good(self) -> bool:
        """Whether everything that is promised was kept."""
        return self.verdict.good and not self.faulty


def run(seed: int, names: Sequence[str] = (), keep: bool = False) -> Run:
    """Break what ``names`` says, or one or two faults that the seed chooses.

    Raises:
        AssertionError: when a fault could not be made.

    Arguments:
        keep: leave the logs of a run that went wrong.
    """
    chance = random.Random(seed)
    chosen = bool(names)
    while not names or (clash(names) and not chosen):
        names = chance.sample(sorted(FAULTS), chance.choice((1, 2)))
    folder = Path(tempfile.mkdtemp(prefix="sparkle-chaos-"))
    world = World(folder, chance)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    try:
        world.start()
        world.sender.burst(BURST)
        world.sender.start(RATE)
        left = _break(world, names)
        ended = time.monotonic()
        recovered = _progress(world) - ended
        world.sender.stop()
        faulty = [f"{name}: nothing was left to do" for name, n in zip(names, left, strict=True) if n <= 0]
        if world.mended:
            replay_the_rest(world, DRAIN_SECONDS)
        faulty += _drain(world)
        fresh = _fresh(world)
        if fresh > FRESH_SECONDS:
            faulty.append(f"a fresh record took {fresh:.0f} s")
        verdict = judge(world)
        faulty += [f"{name} did not leave within 15 s" for name in world.stop()]
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE:
                faulty.append(f"a process was left: {child.name()} {child.pid}")
        made = Run(
            seed, names, len(world.sender.acknowledged()), left, verdict, recovered, fresh,
            time.monotonic() - started, faulty,
        )  # fmt: skip
    finally:
        world.kill()
    if keep and not made.good:
        made.faulty = [*made.faulty, f"logs in {folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return made


def _break(world: World, names: Sequence[str]) -> list[int]:
    """Let the faults happen, the second while the first still does; how much was left to do when each began."""
    left: list[int] = []
    running: list[tuple[float, Iterator[float]]] = []
    waiting = list(names)
    due = time.monotonic()
    while waiting or running:
        now = time.monotonic()
        if waiting and now >= due:
            if left:
                world.sender.burst(BURST // 2)
            world.sender.flush_what_can_be()
            left.append(world.left())
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
    return left


def _progress(world: World) -> float:
    """When the next row was stored."""
    rows = world.done()
    deadline = time.monotonic() + DRAIN_SECONDS
    while world.done() <= rows and time.monotonic() < deadline:
        world.pause(0.2)
    return time.monotonic()


def _drain(world: World) -> list[str]:
    """Wait until all rows are there and counted; what is missing, in a line."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        world.pause(1)
        try:
            if world.left() <= 0 and not any(differences(world, table) for table in READINGS):
                return [] if _ready(world, deadline) else ["not all workers were ready in the end"]
        except psycopg2.Error:
            continue
    return [f"not drained within {DRAIN_SECONDS} s: {world.left()} readings left"]


def _ready(world: World, deadline: float) -> bool:
    while time.monotonic() < deadline:
        if all(worker.ready() for worker in world.workers):
            return True
        world.pause(0.5)
    return False


def _fresh(world: World) -> float:
    """Seconds from sending one more record to its row."""
    started = time.monotonic()
    before = world.done()
    world.sender.send(world.sender.make(value=25.0, plugin=PLUGINS[0]))
    world.sender.flush()
    while world.done() <= before and time.monotonic() - started < 2 * FRESH_SECONDS:
        world.pause(0.05)
    taken = time.monotonic() - started
    # Counted as well, before anything is compared.
    _drain(world)
    return taken


def as_json(run: Run) -> str:
    """One line for a script."""
    return json.dumps({**vars(run), "verdict": vars(run.verdict)})
