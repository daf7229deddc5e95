"""From a plugin topic to raw rows: opening (decrypt and validate), storing (SQL), forwarding, dead_letters; agent."""
