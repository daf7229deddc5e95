"""What every process needs: metrics, logging, retry, process (its end), folders."""
