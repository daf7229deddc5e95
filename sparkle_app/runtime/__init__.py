"""Infrastructure of every process: metrics, logging, retry, process (exit), folders."""
