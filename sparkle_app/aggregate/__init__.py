"""From samples to aggregates: agent, aggregator, table; windows, which the HTTP API queries."""
