"""``make bench``: throughput relative to the limit that RSA sets, latency, memory, and growth with the data.

Reading order: backlog, limit, ours, others, latency, history, state, suite, tables.
"""
