"""From a plugin topic to raw rows: agent, decryption_pool, sql_writer, forwarder."""
