"""The handler's own encrypted messages: cipher and its internal_key, samples."""
