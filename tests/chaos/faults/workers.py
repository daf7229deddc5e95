"""Faults of workers."""

import signal
import sys
from collections.abc import Iterator

import psutil

from tests.chaos.crashing_worker import STAGES
from tests.chaos.faults.database import signal_database
from tests.chaos.world import WORKERS, Fault, World
from tests.support.processes import Process
from tests.support.worker import PROJECT

SUSPENDED_SECONDS = 20
"""Longer than the session timeout of 15 s."""


def kill_in_turn(world: World) -> Iterator[float]:
    """Kill the workers with SIGKILL, one after another."""
    first = world.rng.randrange(WORKERS)
    for number in range(WORKERS):
        world.workers[(first + number) % WORKERS].kill()
        yield 4


def kill_all(world: World) -> Iterator[float]:
    """Kill all workers with SIGKILL at once."""
    for worker in world.workers:
        worker.kill()
    yield 0


def kill_decrypting_process(world: World) -> Iterator[float]:
    """Kill a process of a worker's decryption pool with SIGKILL. The worker must exit."""
    worker = world.rng.choice(world.workers).process
    before = worker.pid
    world.rng.choice(psutil.Process(before).children()).kill()
    for _ in range(60):
        yield 0.25
        if worker.pid != before:
            return
    raise AssertionError(f"{worker.name} runs without a process of its decryption pool; {worker.tail()}")


def suspend(world: World) -> Iterator[float]:
    """Suspend a worker for longer than its session, so that it continues with partitions that it has lost."""
    victim = world.rng.choice(world.workers).process
    victim.send(signal.SIGSTOP)
    yield SUSPENDED_SECONDS
    victim.send(signal.SIGCONT)
    yield 0


def step_clock(world: World) -> Iterator[float]:
    """Set the clock of a worker two hours ahead for 5 s."""
    offset = world.clock_offset(world.rng.randrange(WORKERS))
    offset.write_text("7200")
    yield 5
    offset.unlink()
    yield 2


def join_and_leave(world: World) -> Iterator[float]:
    """Stop and start a worker every 2 to 4 s."""
    for turn in range(8):
        number = turn % WORKERS
        world.should_run[number] = False
        world.workers[number].process.send_only(signal.SIGTERM)
        yield world.rng.uniform(2, 4)
        world.should_run[number] = True
    yield 0


def _terminate(world: World) -> Iterator[float]:
    number = world.rng.randrange(WORKERS)
    victim = world.workers[number]
    world.should_run[number] = False
    victim.process.send_only(signal.SIGTERM)
    for _ in range(15):
        yield 1
        if not victim.process.running:
            break
    assert not victim.process.running, f"{victim.process.name} did not exit within 15 s of SIGTERM"
    world.should_run[number] = True


def terminate(world: World) -> Iterator[float]:
    """Send SIGTERM to a worker that has records to process."""
    yield from _terminate(world)


def terminate_while_the_database_hangs(world: World) -> Iterator[float]:
    """Send SIGTERM to a worker while no statement returns."""
    signal_database(world, signal.SIGSTOP)
    yield 3
    try:
        yield from _terminate(world)
    finally:
        signal_database(world, signal.SIGCONT)


def _crash_after(stage: str) -> Fault:
    def crash(world: World) -> Iterator[float]:
        number = world.rng.randrange(WORKERS)
        regular = world.workers[number].process
        world.should_run[number] = False
        regular.send_only(signal.SIGTERM)
        while regular.running:
            yield 0.2
        crashing = Process(
            f"the worker that crashes after: {stage}",
            [sys.executable, "-m", "tests.chaos.crashing_worker", "-A", "sparkle_app", "worker"],
            regular.log.with_suffix(".crashing.log"),
            environment={
                **world.environment,
                "SPARKLE_WEB__PORT": str(world.workers[number].port),
                "CRASH_AFTER": stage,
                "CRASH_TIMES": str(world.rng.randint(1, 4)),
            },
            folder=PROJECT,
        )
        crashing.start()
        try:
            # The other fault may stop the database for 60 s.
            for _ in range(600):
                yield 0.25
                if not crashing.running:
                    break
            assert crashing.exit_code == -signal.SIGKILL, f"{crashing.name} did not crash; {crashing.tail()}"
        finally:
            crashing.kill()
            world.should_run[number] = True

    crash.__doc__ = f"Kill a worker with SIGKILL right after: {stage}."
    return crash


CRASHES = {f"killed after {stage}": _crash_after(stage) for stage in STAGES}
