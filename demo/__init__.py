"""``make demo``: the handler, a broker and collectors on one machine."""
