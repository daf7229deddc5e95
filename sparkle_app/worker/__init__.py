"""A worker, and the composition root: agents, application, parts, startup, watchdogs, shutdown."""
