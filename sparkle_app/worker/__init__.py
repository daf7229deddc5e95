"""A worker: application (the composition root), faust_options, parts, startup, broker_watchdog, shutdown."""
