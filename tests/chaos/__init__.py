"""Fault injection: ``make chaos RUNS=20 SEED=1``.

Reading order: sending, world, faults, commands, oracle, runs.
"""
