"""HTTP: parts (what it is given), routing, authentication, partition_router, health, problems, port; api/ (/api/v1)."""
