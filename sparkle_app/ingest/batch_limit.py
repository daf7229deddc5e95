"""How many records are decrypted together."""

BATCH_SECONDS = 0.5
"""In which a batch is decrypted at most, so that readings reach the database that often under full load, too."""
MIN_BATCH = 1000
"""In records. A batch has costs of its own, for its transaction and for each of its hosts."""


class BatchLimit:
    """The number of records that are decrypted in half a second, or for as long as it takes to store a batch.

    If storing takes longer than decrypting, fewer readings in a transaction would store fewer readings per second.

    Arguments:
        max_records: maximum number of records.
    """

    def __init__(self, max_records: int) -> None:
        self._max = max_records
        self._storing = 0.0
        self.records = min(MIN_BATCH, max_records)
        """Maximum number of records in the next batch."""

    def decrypted(self, records: int, seconds: float) -> None:
        """Note how long the decryption of a batch took."""
        # A small batch does not keep all processes busy, and does not show how many they decrypt.
        if 2 * records >= self.records:
            wanted = records / max(seconds, 1e-6) * max(BATCH_SECONDS, self._storing)
            self.records = round(min(self._max, max(MIN_BATCH, wanted)))

    def stored(self, seconds: float) -> None:
        """Note how long it took to store a batch."""
        self._storing = seconds
