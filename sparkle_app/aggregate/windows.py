"""Rolling windows: merges of buckets, at the time of the question."""

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.model.buckets import Statistics, bucket_start, merged, metrics_of


def window_bounds(now: float, seconds: int, resolution: int) -> tuple[int, int]:
    """The whole buckets that a window of ``seconds`` up to ``now`` (seconds since the epoch) touches.

    Returns:
        Start of the first bucket and end of the last, microseconds since the epoch.
    """
    end = bucket_start(int(now * 1_000_000), resolution) + resolution * 1_000_000
    return bucket_start(int((now - seconds) * 1_000_000), resolution), end


def host_window(table: BucketTable, hostname: str, start: int, end: int) -> dict[str, Statistics]:
    """One host's metrics over the buckets of a window; empty when there are none."""
    return merged(metrics_of(packed) for packed in table.packed(hostname, start, end))
