"""The web page: its files, and how they are served. What it shows comes from /api/v1."""
