"""What to do about an error of a database."""

import psycopg2

from sparkle_app.storage.dialects import postgresql_errors


def test_a_connection_that_a_full_disk_prevents_is_one_of_a_full_disk() -> None:
    error = psycopg2.OperationalError("FATAL:  could not write init file: No space left on device")
    assert postgresql_errors.remedy(error) == "free disk space on the server"
    assert postgresql_errors.remedy(psycopg2.OperationalError("Connection refused")) == ""
