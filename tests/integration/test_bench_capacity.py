"""What the capacity page is computed from can be measured."""

from benchmarks.capacity import database_bytes
from tests.support.postgres import PostgresServer


def test_the_size_of_a_database_of_postgresql(postgres: PostgresServer) -> None:
    url = postgres.create_database("sizes")
    # An empty one has its system catalogs.
    assert 1_000_000 < database_bytes(url, postgres) < 100_000_000
