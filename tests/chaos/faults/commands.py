"""``rebuild`` and ``replay`` as faults: they run while workers work, and while something else breaks."""

import re
import shutil
from collections.abc import Iterator

import psycopg2

from tests.chaos.oracle import letters
from tests.chaos.sending import UNKNOWN_CONFIG
from tests.chaos.world import World
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.worker import PROJECT, faust, run_command


def rebuild(world: World) -> Iterator[float]:
    """Aggregates in SQL are made wrong, and rebuilt while workers work."""
    for _ in range(2):
        while True:
            try:
                world.sql(
                    "UPDATE temperature_aggregates SET count = count - 1, sum = sum + 1 WHERE random() < 0.2;"
                    "DELETE FROM pu_workload_aggregates WHERE random() < 0.2"
                )
                break
            except psycopg2.Error:
                # Locked, or away with a partner fault.
                yield 1
        yield from _until_done(world, "rebuild", "made anew")


def replay(world: World) -> Iterator[float]:
    """The key that some records lacked is put in its place, and all letters are sent back while workers work."""
    certs = world.workspace.certs
    shutil.copy(certs / "rsa_key_1", certs / "new")
    world.mended = True
    (certs / "new").rename(certs / f"rsa_key_{UNKNOWN_CONFIG}")
    yield from _until_done(world, "replay --all", r"[1-9]\d* dead letters sent back")


def replay_the_rest(world: World, seconds: float) -> None:
    """What became a letter before the key was seen: sent back until it is a row, and no letter.

    Raises:
        AssertionError: when it does not within ``seconds``.
    """

    def still_letters() -> list[str]:
        run_command(world.environment, "replay", "--reason", "unknown_config")
        world.pause(3)
        return [
            key
            for key, messages in letters(world).items()
            if dict(messages[-1].headers).get("sparkle-reason") == b"unknown_config"
        ]

    eventually(lambda: (world.left(), still_letters()), lambda found: found[0] <= 0 and not found[1], seconds)


def _until_done(world: World, command: str, said: str) -> Iterator[float]:
    """Run a command, killed on its way the first time, until it succeeds and says so."""
    for attempt in range(30):
        log = world.workspace.folder / f"{command.split(maxsplit=1)[0]}-{attempt}.log"
        log.unlink(missing_ok=True)
        process = Process(
            command, faust(*command.split()), log, environment=world.environment, folder=PROJECT
        )
        process.start()
        try:
            if not attempt:
                yield world.chance.uniform(2, 8)
            else:
                # A partner may keep the broker or the database away for 60 s.
                for _ in range(480):
                    yield 0.25
                    if not process.running:
                        break
        finally:
            process.kill()
        if process.exit_code == 0 and re.search(said, log.read_text()):
            return
    raise AssertionError(f"{command} did not succeed; {process.tail()}")
