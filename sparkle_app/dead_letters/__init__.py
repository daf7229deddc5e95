"""Records that can never become stored readings: message, publisher, copy_limit, reader."""
