"""Whether the aggregates in SQL are those of the raw rows: auditor, confirmation."""
