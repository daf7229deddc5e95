"""From samples to aggregates: agent, aggregator, table; windows (what the web asks for)."""
