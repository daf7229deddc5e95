"""Compares the aggregates in SQL with what they are computed from, and repairs them."""
