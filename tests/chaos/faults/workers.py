"""Faults of workers."""

import signal
import sys
from collections.abc import Iterator

import psutil

from tests.chaos.crashing_worker import POINTS
from tests.chaos.faults.database import signal_postgres
from tests.chaos.world import WORKERS, Fault, World
from tests.support.processes import Process
from tests.support.worker import PROJECT

LONGER_THAN_A_SESSION = 20
"""Workers' sessions with the broker last 15 s."""


def kill_one_after_another(world: World) -> Iterator[float]:
    """Kill -9 of one worker of three, in turn."""
    first = world.chance.randrange(WORKERS)
    for number in range(WORKERS):
        world.workers[(first + number) % WORKERS].kill()
        yield 4


def kill_all(world: World) -> Iterator[float]:
    """Kill -9 of all workers at once."""
    for worker in world.workers:
        worker.kill()
    yield 0


def kill_a_decrypting_process(world: World) -> Iterator[float]:
    """Kill -9 of a process that decrypts for a worker, which then has to end by itself."""
    worker = world.chance.choice(world.workers).process
    before = worker.pid
    world.chance.choice(psutil.Process(before).children()).kill()
    for _ in range(60):
        yield 0.25
        if worker.pid != before:
            return
    raise AssertionError(f"{worker.name} goes on without a process that decrypts; {worker.tail()}")


def suspend(world: World) -> Iterator[float]:
    """A worker that sleeps for longer than its session, and then writes what it was about to."""
    victim = world.chance.choice(world.workers).process
    victim.send(signal.SIGSTOP)
    yield LONGER_THAN_A_SESSION
    victim.send(signal.SIGCONT)
    yield 0


def churn(world: World) -> Iterator[float]:
    """Workers that leave and join every 2 to 4 s."""
    for turn in range(8):
        number = turn % WORKERS
        world.wanted[number] = False
        world.workers[number].process.send_only(signal.SIGTERM)
        yield world.chance.uniform(2, 4)
        world.wanted[number] = True
    yield 0


def _terminate(world: World) -> Iterator[float]:
    number = world.chance.randrange(WORKERS)
    victim = world.workers[number]
    world.wanted[number] = False
    victim.process.send_only(signal.SIGTERM)
    for _ in range(15):
        yield 1
        if not victim.process.running:
            break
    assert not victim.process.running, f"{victim.process.name} did not leave within 15 s of SIGTERM"
    world.wanted[number] = True


def terminate(world: World) -> Iterator[float]:
    """SIGTERM with records waiting."""
    yield from _terminate(world)


def terminate_while_the_database_hangs(world: World) -> Iterator[float]:
    """SIGTERM while no statement returns."""
    signal_postgres(world, signal.SIGSTOP)
    yield 3
    try:
        yield from _terminate(world)
    finally:
        signal_postgres(world, signal.SIGCONT)


def _crash_after(point: str) -> Fault:
    def crash(world: World) -> Iterator[float]:
        number = world.chance.randrange(WORKERS)
        usual = world.workers[number].process
        world.wanted[number] = False
        usual.send_only(signal.SIGTERM)
        while usual.running:
            yield 0.2
        doomed = Process(
            f"the worker that ends after: {point}",
            [sys.executable, "-m", "tests.chaos.crashing_worker", "-A", "sparkle_app", "worker"],
            usual.log.with_suffix(".doomed.log"),
            environment={
                **world.environment,
                "SPARKLE_WEB__PORT": str(world.workers[number].port),
                "CRASH_AFTER": point,
                "CRASH_TIMES": str(world.chance.randint(1, 4)),
            },
            folder=PROJECT,
        )
        doomed.start()
        try:
            # Its partner may keep the database away for 60 s.
            for _ in range(600):
                yield 0.25
                if not doomed.running:
                    break
            assert doomed.exit_code == -signal.SIGKILL, f"{doomed.name} did not; {doomed.tail()}"
        finally:
            doomed.kill()
            world.wanted[number] = True

    crash.__doc__ = f"A worker that is killed right after: {point}."
    return crash


CRASHES = {f"killed after {point}": _crash_after(point) for point in POINTS}
