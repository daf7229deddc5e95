"""The HTTP server of a worker: parts, routing, authentication, partition_router, health, problems, port; api/."""
