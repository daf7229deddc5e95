"""What the workers know of all hosts at one moment, however many clients ask: local, lines, fleet, overview, pages."""
