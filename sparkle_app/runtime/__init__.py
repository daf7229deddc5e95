"""Infrastructure of every process: metrics, stages, logging, retry, process (exit), cores, folders."""
