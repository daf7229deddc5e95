"""The step of a series, chosen for a number of points."""

from sparkle_app.model.time import span

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
STEPS = (
    *(number * _MINUTE for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR for number in (1, 2, 3, 6, 12)),
    *(number * _DAY for number in (1, 2, 7, 14, 28)),
)
"""Steps that people expect, in seconds."""


def step_for(length: int, points: int, bucket_size: int) -> int:
    """The shortest of :data:`STEPS` that gives at most about ``points`` points; if none does, some whole buckets.

    Arguments:
        length: of the time range, microseconds.
        bucket_size: in seconds.

    Returns:
        Seconds.
    """
    shortest = max(-(-length // span(points)), bucket_size)
    usual = (step for step in STEPS if shortest <= step <= 4 * shortest and step % bucket_size == 0)
    return next(usual, -(-shortest // bucket_size) * bucket_size)
