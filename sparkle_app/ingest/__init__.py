"""From a plugin topic to stored readings: agent, decryption_pool, key_breaker, sql_writer, forwarder."""
