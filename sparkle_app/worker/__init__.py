"""A worker: application (the composition root), faust_options, web_driver, parts, startup, watchdogs, shutdown."""
