"""Records that can never be readings: message, publisher, reader."""
