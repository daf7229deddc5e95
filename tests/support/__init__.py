"""Real servers and workers for the tests. Nothing here imports the application: it is seen from outside only."""
