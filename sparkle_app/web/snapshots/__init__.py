"""What the workers know of all hosts at one moment: local, lines, fleet, overview, query_cache."""
