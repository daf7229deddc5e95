"""The Sparkle-M handler: ``faust -A sparkle_app worker``.

All packages and modules; the docstring of each describes what it does:

    worker/             a worker process: the composition root
      agents              declares agents and tables
      application         the Faust application, builds the parts
      faust_options       options of the Faust application
      parts               the parts that agents and web server share
      startup             checks, waits for database and broker, creates tables and topics
      readiness           logs when the worker is ready
      broker_watchdog     logs when the broker is unreachable
      clock_watchdog      restores buckets that were pruned while the clock was ahead
      host_watch          counts the hosts that have fallen silent
      key_watchdog        has held records read again once a private key decrypts them
      recovery_watchdog   has lost records of changelog topics read again
      retention_watch     runs retention every few minutes
      disk_watchdog       logs when a disk is nearly full
      wal_watchdog        keeps SQLite's write-ahead log small
      topic_watch         notices topics that are deleted, created again or restored
      shutdown            exit after the shutdown timeout
      web_driver          Faust's web server, with limits on its connections
    ingest/             from a plugin topic to stored readings
      agent               pipeline: decrypt, store, forward, acknowledge
      batch_limit         how many records are decrypted together
      decryption_pool     processes that decrypt and validate
      key_breaker         holds back records of configs without a working private key
      held_partitions     partitions with such records, which are read again
      sql_writer          inserts readings through their plugins
      host_recorder       records when hosts sent readings
      metric_limit        limits the distinct metrics of a host in a bucket
      forwarder           produces samples
    envelope/           the collectors' records
      v1                  parsing and decryption
      keyring             private keys
      rsa                 RSA decryption, one payload at a time
      rsa_multibuffer     eight payloads at once
      clock               event time
    dead_letters/       records that can never be stored
      message             contents of a dead letter
      publisher           produces dead letters and tombstones
      reader              reads the dead-letter topic
      selection           selects dead letters
      replay              produces them back to their topics
    sealed/             the handler's own encrypted messages
      cipher              AES-256-GCM
      internal_key        the key
      samples             values of samples topics
    aggregate/          from samples to aggregates
      agent               pipeline: count, write to the table and to SQL, acknowledge
      aggregator          exact counting in buckets
      stored_buckets      buckets in SQL
      table               bucket table and its changelog topic
      windows             merges buckets into windows
    audit/              comparison of aggregates with stored readings
      auditor             compares and repairs, chunk by chunk
      chunks              what is compared in one transaction
      levels              what the aggregates of each resolution should be
      differences         an aggregate that is not what it should be
      confirmation        distinguishes lasting differences from transient ones
      copies              compares two databases
      renaming            gives what is stored of a host to another name
    retention/          how long rows are kept
      retainer            a run: merges, then deletes
      merging             merges hours and days
      deletion            deletes expired rows
      steps               transactions of limited length
      plugin_rows         rows of a plugin, and their watermarks
    transfer/           files of stored readings and aggregates
      layouts             columns
      kinds               kinds of columns: exact conversions, checks
      csv_files           CSV
      parquet_files       Parquet
      rows                rows that are read, and their errors
      pages               reads stored rows in pages
      importing           stores what is not stored yet
      moving              copies everything to another database
      watermarks          what both databases keep
    web/                HTTP
      parts               the parts that the web server gets
      routing             registers the routes
      authentication      what a request may do: bearer tokens, sessions, this machine
      sessions            tokens of users, and cookies of browsers
      login_limit         limits wrong tokens per address
      reverse_proxy       the client of a request
      security_headers    headers of pages
      tls                 certificate of the web server, requests to other workers
      health              health checker
      host_metrics        last values of this worker's hosts, for Prometheus
      partition_router    finds the worker that owns a host
      problems            errors as RFC 9457 problem details
      port                checks that the port is free
      connections         limits of connections and of the time of a request
      queries             reads from the database
      thread_limit        limits calls in threads, and those that wait
      slices              long computations, without blocking the event loop
      single_flight       one computation for equal, concurrent queries
      encoding            JSON of long responses
      negotiation         JSON or CSV
      conditional         responses with an entity tag
      dashboard/          the page
        page                serves the page and its files
        assets              reads the files at start
        chart_library       finds uPlot
      snapshots/          the state of all hosts, refreshed while somebody asks
        local               a value for each host of this worker
        lines               what lists show of a host, also between workers
        fleet               the lines of all workers
        known_hosts         the hosts that SQL knows
        overview            all plugins of all hosts, silent hosts included
        views               the views that were asked for last
        refreshed           makes snapshots while somebody asks
        query_cache         orders and responses of a snapshot, computed once
      html/             HTML without scripts
        elements            escapes texts
        login               login page
        messages            its texts in English and Russian
        api_docs            description of the API
        style               style sheet
      api/              /api/v1
        routes              table of all routes
        route               what the table contains
        openapi             OpenAPI document
        parameters          query parameters
        responses           what several responses contain
        plugins             the installed plugins
        hosts               the hosts that have sent readings
        host_lists          what lists of hosts from snapshots have in common
        overview            all hosts, silent hosts included
        overview_responses  its responses, and what they show of a host
        lines               window statistics by host
        window_queries      windows, from the bucket tables of all workers
        headlines           the headline of many hosts over time
        history             what queries of a host's history have in common
        series              aggregates of a host over time, from SQL
        columns             the same in columns, for charts
        series_query        what both are asked for, and their steps
        series_responses    their responses
        steps               their steps, for a number of points
        readings            stored readings of a host
        recount             aggregates of a host, compared with its stored readings
        completeness        how often a host sent readings
        dead_letters        counts and lists of dead letters
        dead_letter_cache   reads their topic while somebody asks
        replay              replays dead letters
        pipeline            what each worker consumes, and what it waits for
        session             what a request may do
        health              liveness and readiness
    plugin_api/         the public API for plugin authors
      plugin              base class of server halves
      values              base classes for strings and JSON values
      numeric             the number of a reading that is aggregated
    plugin/             loading of plugins
      manifest            reads manifests without importing the package
      panel               how values are shown
      table_names         packages that declare the tables of another one
      discovery           finds packages and imports their server halves
      value_types         whether a plugin's table can store its values
      declared_tables     whether the database can create the tables of a package
      default_tables      whether rows are in the default tables or the plugin's own
      failures            exceptions of a plugin's methods, for the log
      collecting_half     runs a collecting half on this machine
      legacy              packages written for the earlier handler
      history             series and pages of readings, bounded in rows
      headlines           the headline of many hosts in steps
      merging             aggregates of buckets, and of the hours and days that contain them
      extents             how many aggregates each host has
    storage/            SQL
      engine              connections and transactions
      errors              classification of errors
      wal                 SQLite's write-ahead log
      deadlines           calls that wait for a database
      psycopg2_connection connections to PostgreSQL with deadlines, with psycopg2
      psycopg_connection  the same with psycopg 3
      pymysql_connection  connections to MariaDB and MySQL with deadlines
      oracledb_connection parameters of connections to Oracle Database
      dialects/           one file for each database
        base                interface, with defaults for any database
        column_types        types of times and ids, and their conversions
        error_classes       what an error means
        portable            statements for any database
        session_lock        lock of those where CREATE TABLE commits
        sqlstates           standard error codes
        on_conflict         statements of databases with ON CONFLICT
        mysql               MariaDB and MySQL
        mysql_errors        their error numbers
        mysql_statements    their statements for many rows
        mysql_tables        their CREATE TABLE
        oracle              Oracle Database
        oracle_errors       its error numbers
        oracle_statements   its statements
        oracle_types        its types
        postgresql          PostgreSQL
        postgresql_errors   its SQLSTATEs
        postgresql_statements its statements for many rows
        sqlite              SQLite
        sqlite_engine       its connections
        sqlite_errors       its result codes
        sqlite_file         its space, damage and time limits
      columns             types of columns
      models              tables of a plugin
      data_tables         tables with the rows of a plugin's views
      constraints         their indexes and constraints
      views               views with names in place of numbers
      names               numbers that stand for names
      hosts               the table of hosts, and how it is written
      host_queries        queries of the table of hosts
      earlier_hosts       hosts of readings that are older than their table
      renames             gives rows of a host to another name
      retention           watermarks: what is kept, and what is merged
      migrations/         schema migrations
        branches            revisions of the handler and of plugins
        schema              compares a database with the revisions
        migration           creates and migrates tables
        comparison          compares columns of tables with the models
        steps               what Alembic executes for it
        compaction          replaces names in stored rows by numbers
        roles               tables by role, for revisions
        versions/         the handler's revisions
          0001_tables_per_plugin the base
          0002_compact_tables    numbers in place of names
          0003_retention         watermarks of retention
          0004_clock_offsets     offsets of wrong clocks
          0005_rebuilt_at        when aggregates were last rebuilt
      trial               tries what a worker writes
      creation            whether a database can create a table
      readings            inserts and reads readings
      late                steps that late readings filled, in SQL
      aggregates          writes and reads aggregates
      aggregate_steps     merges them into longer steps, in SQL
      aggregation         computes them from stored readings, in SQL
      headlines           the headline of many hosts in steps, in SQL
      resolutions         which aggregates serve for a time range
      expiry              deletes expired rows, a part at a time
      extents             how many aggregates each host has, and when
      statements          common parts of statements
      rows                rows of tables that packages declare
      positions           up to which record readings are stored
    kafka/              Kafka
      connection          TLS, SASL, producer of the commands
      timeouts            time limits of connections to brokers
      diagnosis           why the broker cannot be used
      admin               creates and checks topics
      topic_configs       configuration of existing topics
      rebootstrap         finds brokers that come back under other addresses
      fetched_batches     reads record batches that aiokafka cannot read
      decompression       decompresses them up to a size
      expired_records     records that Kafka's log retention deleted before they were consumed
      topic_ids           ids of topics
      consumed_logs       whether the logs are still those that were consumed
      topology            topic names, partitions of hosts
      consumer            batching consumer
      consumer_thread     its thread of the Kafka client
      group_offsets       sets committed offsets back
      membership          generation, assigned partitions, last heartbeat
      record_batches      many records as one Faust message
      record_sizes        how much memory records take
      streams             batches of a stream
      publisher           produces to the handler's own topics
    capacity/           what a fleet needs
      figures             what the benchmarks have measured
      estimate            cores, memory and disk of a fleet
      table               estimates as a table
    collector_config/   config archive and key pair
      creation            creates the key pair and the archive
      archive             members of the archive
    cli/                faust -A sparkle_app NAME
      sparkle             the sparkle command
      base                exit codes and errors
      options             options that several commands have
      capacity            estimates what a fleet needs
      check               checks configuration, broker and database
      check_database      its check of the database
      verify              compares aggregates with stored readings
      rebuild             recomputes aggregates that differ
      retain              merges and deletes now, or shows what would be deleted
      audit               common parts of verify and rebuild
      hosts               lists, removes, renames and merges hosts
      host_renames        common parts of renaming and merging
      database            common parts of commands that use the database
      export              writes stored readings or aggregates to a file
      import_command      stores the rows of files
      migrate             migrates tables of an earlier version
      move                copies everything to another database
      move_target         its option --to, and errors of that database
      try_plugin          shows what becomes of a plugin's values
      dead_letters        lists and discards dead letters
      replay              replays dead letters
      reset_offsets       lets workers read records again
      dead_letter_filters options that select dead letters
      gen_config          creates a config for collectors; also gen_config.py
      prompts             interactive questions
      messages            its texts in English and Russian
    runtime/            infrastructure of every process
      metrics             Prometheus metrics
      stages              the stages of pipelines in progress
      expired_readings    counts readings that are older than the retention period
      logging             logging configuration
      clock               the time of day, and steps of the clock
      retry               retry with backoff
      cause_limit         limits dead letters, and lines in the log, of the same cause
      failure_log         logs the cause of a failure once, until it changes
      process             exit
      terminal            output of text from outside
      cores               cores that may be used
      disks               how full file systems are
      certificates        certificates and private keys in PEM files
      folders             write access, publication of files
      version             version of the package
    config/             settings
      settings            top-level keys and rules
      sections            keys and rules of each section
      retention           those of the section on retention
      web                 those of the section on the web server
      urls                rules of URLs
      sqlite_url          rules of the URL of an SQLite file
      url_parameters      parameters in URLs of databases, and URLs without secrets
      loading             file and environment variables
      yaml_file           reads the file
      files               whether a file exists
      reference           generates docs/settings.md
    model/              types that all packages share
      errors              the three kinds of failure
      record              records and outcomes
      reading             readings, decrypted and stored
      host_activity       when a host sent readings
      sample              samples
      buckets             buckets and statistics
      completeness        how complete the readings of a host are
      retention           what watermarks mean
      time                microseconds since 1970
"""

import sys
from typing import Any

from sparkle_app.runtime.version import __version__ as __version__


def __getattr__(name: str) -> Any:
    """``sparkle_app.app``, created on first use, for Faust's command line."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sparkle_app.cli import add_commands
    from sparkle_app.config.loading import load_settings
    from sparkle_app.model.errors import ConfigurationError
    from sparkle_app.worker.agents import create_app

    try:
        app = create_app(load_settings())
    except ConfigurationError as error:
        sys.exit(str(error))
    globals()["app"] = app
    add_commands()
    return app
