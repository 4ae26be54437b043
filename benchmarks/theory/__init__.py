"""Theory made visible: the figures of docs/theory.md. What they draw is computed here and checked in tests.

Densities and trajectories are in float64; all randomness is of fixed seeds. `python -m benchmarks.theory` draws.
"""
