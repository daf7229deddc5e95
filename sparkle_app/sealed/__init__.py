"""The handler's own sealed messages: cipher, internal_key, samples."""
