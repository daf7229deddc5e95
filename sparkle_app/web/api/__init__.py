"""/api/v1: routes, parameters, responses, window_queries (from bucket tables), history (from SQL), openapi."""
