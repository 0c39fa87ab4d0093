"""Benchmarks: ratios and budgets, measured; never tests. See README.md."""
