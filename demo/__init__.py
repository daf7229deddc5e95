"""``make demo``: a broker, the handler and collectors on one machine."""
