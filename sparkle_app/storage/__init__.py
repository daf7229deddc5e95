"""SQL: the connection, the columns of the plugins' tables, and their statements; dialects/ has a file per database."""
