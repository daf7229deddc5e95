"""Windows: computed from buckets when they are queried."""

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.model.buckets import Statistics, bucket_start, merge_packed
from sparkle_app.model.time import span


def window_bounds(now: int, seconds: int, bucket_size: int) -> tuple[int, int]:
    """The bounds of a window of ``seconds`` up to ``now`` (microseconds since the epoch), extended to whole buckets.

    Returns:
        Start of the first bucket and end of the last, microseconds since the epoch.
    """
    end = bucket_start(now, bucket_size) + span(bucket_size)
    return bucket_start(now - span(seconds), bucket_size), end


def host_window(table: BucketTable, hostname: str, start: int, end: int) -> dict[str, Statistics]:
    """Statistics of a host's metrics in a window; empty if it has no buckets there."""
    metrics: dict[str, Statistics] = {}
    for packed in table.packed_buckets(hostname, start, end):
        merge_packed(metrics, packed)
    return metrics
