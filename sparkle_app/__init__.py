"""The Sparkle-M handler: ``faust -A sparkle_app worker``.

The way of a record, file by file, in the order to read them:

    application.py          the composition root (parts.py, startup.py; faust_options.py: what Faust is told)
    wire/envelope.py        what a collector sends, and how it is opened (keyring.py, decrypting.py or multibuffer.py,
                            event_time.py)
    ingest/agent.py         a batch of records: open, store, forward, acknowledge
      opening.py            decrypt and validate, in processes
      storing.py            raw rows, through the plugin's handler (plugin_api.py)
      forwarding.py         tells the aggregates, sealed (wire/messages.py, wire/sealing.py)
      dead_letters.py       what can never be a reading
    buckets.py              what an aggregate is
    aggregate/agent.py      a batch of samples: count, write to the table, write to SQL, acknowledge
      aggregator.py         the rule that keeps aggregates exact
      table.py              Faust's table of buckets
      windows.py            rolling windows
    web/                    questions and answers
    commands/               faust -A sparkle_app NAME

Beside the way: consuming.py (no record is skipped when partitions change hands), membership.py (the consumer group),
bundles.py (many records travel through Faust as one message), publishing.py, broker.py (TLS and the login),
broker_topics.py, settings.py, settings_loading.py, watching.py, folders.py,
errors.py, retry.py, metrics.py, log.py, topics.py; storage/ (SQL); plugin/
(finding plugins); plugin_api.py (all that a plugin's author imports).
"""

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    """``sparkle_app.app``, made on first use, for Faust's command line."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sparkle_app.application import create_app
    from sparkle_app.errors import StartupFault
    from sparkle_app.settings_loading import load_settings

    try:
        app = create_app(load_settings())
    except StartupFault as fault:
        sys.exit(str(fault))
    globals()["app"] = app
    # Makes the commands known to Faust.
    import sparkle_app.commands.check
    import sparkle_app.commands.dead_letters
    import sparkle_app.commands.rebuild
    import sparkle_app.commands.replay
    import sparkle_app.commands.verify  # noqa: F401

    return app
