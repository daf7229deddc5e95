"""``make bench``: how much of what RSA allows reaches SQL. limit, backlog, ours, hand_written; then the table."""
