"""The HTTP server of a worker: parts, routing, authentication, partition_router, health, problems, port, connections,
slices, single_flight, encoding, conditional, host_metrics; snapshots/, api/.
"""
