"""Questions over HTTP and their answers."""
