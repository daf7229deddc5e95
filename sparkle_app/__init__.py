"""The Sparkle-M handler: ``faust -A sparkle_app worker``.

The files in the order of a record's way; each begins with what it does:

    worker/             starts, watches and ends a worker
      application         the composition root: the only file that knows all parts
      faust_options       what Faust is told
      parts               what agents and web share, built in one order
      startup             what is checked and awaited before the first record
      broker_watchdog     ready; the broker is unreachable; it is back
      shutdown            exit within bounded time
    ingest/             from a plugin topic to raw rows
      agent               a batch of records: decrypt, store, forward, acknowledge
      decryption_pool     decrypt and validate, in processes
      sql_writer          raw rows, through the plugin
      forwarder           samples for the aggregates
    envelope/           the collectors' records
      v1                  parse and decrypt
      keyring             the private keys
      rsa                 one reading at a time
      rsa_multibuffer     eight at once
      clock               event time
    dead_letters/       records that can never be readings
      message             what a dead letter holds
      publisher           writes them, with a circuit breaker
      reader              lists them
    sealed/             the handler's own encrypted messages
      cipher              AES-256-GCM
      internal_key        its key
      samples             what the ingest agent tells the aggregate agent
    aggregate/          from samples to aggregates
      agent               a batch of samples: count, write to the table and to SQL, acknowledge
      aggregator          the rule that keeps aggregates exact
      table               Faust's table of buckets
      windows             rolling windows
    audit/              are the aggregates those of the raw rows?
      auditor             compare and repair
      confirmation        which differences are there to stay
    web/                HTTP
      parts               what the web is given
      routing             requests to routes
      authentication      who may ask
      health              is this worker at work?
      partition_router    which worker holds a host
      problems            errors, RFC 9457
      port                can the address be listened on?
      api/              /api/v1
        routes              all of them, in one table
        parameters          of the query
        responses           their shapes
        window_queries      from the tables of all workers
        history             from SQL
        openapi             the document
    plugin_api          all that a plugin's author imports
    plugin/             finding plugins
      manifest            what a package is, without importing it
      discovery           its server half
      legacy              packages for the earlier handler
    storage/            SQL
      engine              the connection
      errors              what an error of the database means
      dialects/           one file a database
        base                what is asked of a database
        postgresql          PostgreSQL, with psycopg2
        sqlite              SQLite
      models              the tables of a plugin
      readings            raw readings
      aggregates          aggregates
      bulk                many rows in one statement
      statements          what statements share
    kafka/              Kafka, and Faust's part of it
      connection          TLS and the login
      admin               topics are created and checked
      topology            names of topics, partitions of hosts
      consumer            no record is skipped in a rebalance
      membership          this worker's place in the consumer group
      record_batches      many records travel through Faust as one message
      streams             batches of a stream
      publisher           writing to own topics
    collector_config/   config.tar.xz and its key
      making              both, or neither
      archive             the members of the archive
    cli/                faust -A sparkle_app NAME
      sparkle             the command of that name
      base                exit codes, and one line for a fault
      check               is everything there that a worker needs?
      verify              compare aggregates with raw rows
      rebuild             repair them
      audit               what both share
      dead_letters        list dead letters
      replay              send them through again
      dead_letter_filters which of them
      gen_config          a config for collectors, also as gen_config.py
      prompts             what it asks
      messages            in English and Russian
    runtime/            what every process needs
      metrics             for Prometheus
      logging             which lines, and where to
      retry               with backoff
      process             its end
      folders             can they be written?
      version             the version
    config/             settings
      settings            every key and rule
      loading             the file and the environment
      reference           docs/settings.md
    model/              what all rooms speak of
      errors              three fates of a failure
      record              a record, and what became of it
      reading             one reading: decrypted, and as SQL holds it
      sample              one stored reading, as an aggregate needs it
      buckets             what an aggregate is
      time                microseconds since 1970
"""

import sys
from typing import Any

from sparkle_app.runtime.version import __version__ as __version__


def __getattr__(name: str) -> Any:
    """``sparkle_app.app``, made on first use, for Faust's command line."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sparkle_app.cli import add_commands
    from sparkle_app.config.loading import load_settings
    from sparkle_app.model.errors import ConfigurationError
    from sparkle_app.worker.application import create_app

    try:
        app = create_app(load_settings())
    except ConfigurationError as fault:
        sys.exit(str(fault))
    globals()["app"] = app
    add_commands()
    return app
