"""A worker: application (the composition root), faust_options, parts, startup, three watchdogs, shutdown."""
