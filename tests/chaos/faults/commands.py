"""``rebuild`` and ``replay`` as faults: they run beside workers, and beside another fault."""

import re
import shutil
from collections.abc import Iterator

from tests.chaos.databases import DATABASE_ERRORS
from tests.chaos.oracle import dead_letters
from tests.chaos.sending import UNKNOWN_CONFIG
from tests.chaos.world import World
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.worker import PROJECT, faust, run_command


def rebuild(world: World) -> Iterator[float]:
    """Change aggregates in SQL, and rebuild them while workers run."""
    for _ in range(2):
        while True:
            try:
                some = f"WHERE {world.database.random} < 0.2"
                world.sql(f"UPDATE temperature_aggregates_data SET count = count - 1, sum = sum + 1 {some}")
                world.sql(f"DELETE FROM pu_workload_aggregates_data {some}")
                break
            except DATABASE_ERRORS:
                # Locked or unreachable, because of the other fault.
                yield 1
        yield from _run_repeatedly(world, "rebuild", "recomputed")


def replay(world: World) -> Iterator[float]:
    """Add the missing private key, and replay all dead letters while workers run."""
    certs = world.workspace.certs
    shutil.copy(certs / "rsa_key_1", certs / "new")
    world.key_added = True
    (certs / "new").rename(certs / f"rsa_key_{UNKNOWN_CONFIG}")
    yield from _run_repeatedly(world, "replay --all", r"[1-9]\d* dead letters? replayed")


def replay_remaining(world: World, seconds: float) -> None:
    """Replay the dead letters of records that a worker received before it loaded the key, until none is left.

    Raises:
        AssertionError: if some are left after ``seconds``.
    """

    def remaining() -> list[str]:
        run_command(world.environment, "replay", "--reason", "unknown_config")
        world.pause(3)
        return [
            key
            for key, messages in dead_letters(world).items()
            if dict(messages[-1].headers).get("sparkle-reason") == b"unknown_config"
        ]

    eventually(lambda: (world.pending(), remaining()), lambda found: found[0] <= 0 and not found[1], seconds)


def _run_repeatedly(world: World, command: str, expected: str) -> Iterator[float]:
    """Run a command until it succeeds with the expected output. The first execution is killed."""
    for attempt in range(30):
        log = world.workspace.folder / f"{command.split(maxsplit=1)[0]}-{attempt}.log"
        log.unlink(missing_ok=True)
        process = Process(
            command, faust(*command.split()), log, environment=world.environment, folder=PROJECT
        )
        process.start()
        try:
            if not attempt:
                yield world.rng.uniform(2, 8)
            else:
                # The other fault may stop the broker or the database for 60 s.
                for _ in range(480):
                    yield 0.25
                    if not process.running:
                        break
        finally:
            process.kill()
        if process.exit_code == 0 and re.search(expected, log.read_text()):
            return
    raise AssertionError(f"{command} did not succeed; {process.tail()}")
