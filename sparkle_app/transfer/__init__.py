"""Export of stored readings and aggregates to files, and import from them."""
