"""Retention: merges hours and days, and deletes what is not kept any longer."""
