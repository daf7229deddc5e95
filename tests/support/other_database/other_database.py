"""A database that the handler does not know: PostgreSQL, as the dialect of another package might present it."""

from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2


class OtherDialect(PGDialect_psycopg2):
    """PostgreSQL by another name."""

    name = "otherdb"
    supports_statement_cache = True
