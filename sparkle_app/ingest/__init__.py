"""From a plugin topic to stored readings: agent, decryption_pool, sql_writer, forwarder."""
