"""Records that can never become stored readings: message, publisher, reader, selection, replay."""
