"""``make bench``: how much of what RSA allows reaches SQL. backlog, limit, ours, others; then the table."""
