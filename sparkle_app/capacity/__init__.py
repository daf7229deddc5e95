"""What a fleet needs: figures (measured by the benchmarks), estimate, table."""
