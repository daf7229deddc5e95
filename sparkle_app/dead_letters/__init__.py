"""Records that can never become stored readings: message, publisher, cause_limit, reader."""
