"""Breaking it on purpose: ``make chaos RUNS=20 SEED=1``.

Order to read: sending, world, faults, commands, oracle, runs.
"""
