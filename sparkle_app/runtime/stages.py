"""The stages of the pipelines that are in progress: since when, and why they have not succeeded yet."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """One step of a pipeline: the same word in the log and in the label ``stage`` of every metric."""

    OPEN = "open"
    """Parse, decrypt and validate a batch of records."""
    STORE = "store"
    """Insert readings into SQL."""
    DEAD_LETTERS = "dead_letters"
    """Produce dead letters and tombstones to the dead-letter topic."""
    FORWARD = "forward"
    """Produce samples to the samples topics."""
    RESTORE = "restore"
    """Recompute the buckets for which SQL and a recovered table have not counted equally many readings."""
    AGGREGATE = "aggregate"
    """Count samples in buckets."""
    TABLE = "table"
    """Write buckets to the table and its changelog topic."""
    SINK = "sink"
    """Write aggregates to SQL."""


@dataclass(eq=False)
class StageRun:
    """A stage in progress."""

    stage: Stage
    began: float
    """Monotonic, in seconds."""
    error: str = ""
    """Why the last attempt failed; empty if none has."""


class Stages:
    """The stages in progress, of all pipelines of a worker.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        # In the order in which they began.
        self._runs: dict[StageRun, None] = {}

    @contextmanager
    def run(self, stage: Stage) -> Iterator[StageRun]:
        """A stage is in progress until the end of the block."""
        run = StageRun(stage, self.clock())
        self._runs[run] = None
        try:
            yield run
        finally:
            del self._runs[run]

    def seconds(self, stage: Stage) -> float:
        """How long the stage has been in progress; 0 if it is not."""
        return max((self.clock() - run.began for run in self._runs if run.stage is stage), default=0.0)

    def in_progress(self) -> list[tuple[Stage, float, str]]:
        """Each stage in progress: for how many seconds, and why its last attempt failed, if one has."""
        now = self.clock()
        return [(run.stage, now - run.began, run.error) for run in self._runs]

    def delayed(self, seconds: float) -> str:
        """The stages that have been in progress for more than ``seconds``, and why; empty if there is none."""
        now = self.clock()
        late = [run for run in self._runs if now - run.began > seconds]
        texts = []
        for stage in dict.fromkeys(run.stage for run in late):
            runs = [run for run in late if run.stage is stage]
            cause = next((run.error for run in runs if run.error), "no response yet")
            texts.append(f"stage {stage} in progress for {now - runs[0].began:.0f} s: {cause}")
        return "; ".join(texts)
