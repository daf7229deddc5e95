"""Servers, workers and clients for tests. Only ``rows`` imports the application."""
