"""What the workers know of all hosts at one moment: local, lines, fleet, known_hosts, overview, query_cache."""
