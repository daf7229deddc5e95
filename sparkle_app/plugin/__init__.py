"""Loads plugins: manifest (read without importing a package), table_names, discovery (imports server halves),
legacy, history."""
