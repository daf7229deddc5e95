"""Loads plugins: manifest (read without importing a package), discovery (imports server halves), legacy, history."""
