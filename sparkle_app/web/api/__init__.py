"""/api/v1: routes, parameters, responses; window_queries (from the tables), history (from SQL); openapi."""
