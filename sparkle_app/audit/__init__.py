"""Compares the aggregates in SQL with the stored readings, and repairs them: auditor, confirmation."""
