"""``faust -A sparkle_app worker`` that discards what it first fetches of each changelog topic, as rebalances may do."""

from typing import Any

from faust.cli.faust import cli

from sparkle_app.kafka.consumer import BatchingConsumer

_getmany = BatchingConsumer._getmany
_discarded: set[Any] = set()


async def _discard_once(self: BatchingConsumer, *args: Any, **kwargs: Any) -> Any:
    fetched = await _getmany(self, *args, **kwargs)
    new = {tp for tp in fetched if tp.topic.endswith("-changelog")} - _discarded
    _discarded.update(new)
    return {tp: records for tp, records in fetched.items() if tp not in new}


if __name__ == "__main__":
    BatchingConsumer._getmany = _discard_once  # type: ignore[method-assign]
    cli()
