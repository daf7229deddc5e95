"""The circuit breaker: holds back the records of a config whose private key is missing or wrong.

They become neither readings nor dead letters, and are not committed, so that a wrong key does not turn a whole topic
into dead letters. Records of other configs are processed meanwhile.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from sparkle_app.dead_letters.message import sender_of
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Outcome, Record

_WINDOW_SECONDS = 10.0
_MAX_NAMED = 5
_MAX_CONFIGS = 1000
_MAX_RECORD_BYTES = 16_384
"""Anybody who may produce can invent configs, and a collector's records are shorter: so memory is bounded."""
KEY_REASONS = {Reason.UNKNOWN_CONFIG, Reason.UNDECRYPTABLE}
"""A wrong or missing private key gives valid records these reasons."""


class KeyBreaker:
    """Decides which records are held back; one for all topics of a worker.

    It opens for a config if at least 90 % of the records of ten seconds cannot be decrypted, and these are at least
    ``threshold`` records, of configs of which this worker has not decrypted a record yet. So neither a few hosts with a
    wrong key nor somebody who sends garbage can open it for a config that works.

    At most 1,000 configs are held back. The records of further ones become dead letters, which can be replayed.

    Arguments:
        threshold: number of records.
        clock: seconds, monotonic.
    """

    def __init__(self, threshold: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._clock = clock
        self._decrypted: set[int] = set()
        # Time, number of records, and number of those that no key decrypts, of the batches of the last seconds.
        self._batches: deque[tuple[float, int, int]] = deque()
        self.held: dict[int, Record] = {}
        """A record of each config whose records are held back, by config id."""
        self._causes: dict[int, str] = {}
        """Why that record is not decrypted, by config id."""

    def to_hold(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The records of a batch that have to be held back."""
        self._decrypted.update({reading.config_id for each in outcomes for reading in each.readings})
        suspects: list[tuple[Outcome, int]] = []
        for outcome in outcomes:
            if outcome.errors and outcome.errors[0].reason in KEY_REASONS and not outcome.record.replayed:
                config_id = sender_of(outcome.record.value).config_id
                if config_id not in self._decrypted:
                    suspects.append((outcome, config_id))
        new = [(outcome, config_id) for outcome, config_id in suspects if config_id not in self.held]
        if self._is_most(len(new), len(outcomes) - len(suspects) + len(new)):
            for outcome, config_id in new:
                if len(self.held) < _MAX_CONFIGS and len(outcome.record.value) <= _MAX_RECORD_BYTES:
                    self.held.setdefault(config_id, outcome.record)
                    self._causes.setdefault(config_id, outcome.errors[0].detail)
            self._batches.clear()
        return [outcome for outcome, config_id in suspects if config_id in self.held]

    def _is_most(self, suspects: int, records: int) -> bool:
        now = self._clock()
        self._batches.append((now, records, suspects))
        while self._batches[0][0] <= now - _WINDOW_SECONDS:
            self._batches.popleft()
        suspects = sum(each[2] for each in self._batches)
        return suspects >= self._threshold and suspects * 10 >= 9 * sum(each[1] for each in self._batches)

    def release(self, outcomes: Sequence[Outcome]) -> set[int]:
        """Called with another attempt to decrypt the records in :attr:`held`.

        Returns:
            The configs whose records are held back no longer, because a record of theirs has been decrypted.
        """
        for outcome in outcomes:
            config_id = sender_of(outcome.record.value).config_id
            details = [error.detail for error in outcome.errors if error.reason in KEY_REASONS]
            if details:
                self._causes[config_id] = details[0]
            else:
                self._decrypted.add(config_id)
        released = self.held.keys() & self._decrypted
        for config_id in released:
            del self.held[config_id]
            del self._causes[config_id]
        return released

    @property
    def state(self) -> str:
        """Why records are held back; empty if none are."""
        configs = sorted(self.held)
        if not configs:
            return ""
        causes = ", ".join(self._causes[config_id] for config_id in configs[:_MAX_NAMED])
        more = ", …" if len(configs) > _MAX_NAMED else ""
        return f"no private key decrypts the records of config {named(configs)} ({causes}{more}); they are held back"


def named(configs: Collection[int]) -> str:
    """The first five config ids, and the number of the others, for messages."""
    first = sorted(configs)[:_MAX_NAMED]
    others = len(configs) - len(first)
    return ", ".join(map(str, first)) + (f" and {others} more" if others else "")
