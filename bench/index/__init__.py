"""Benchmarks of the package index, beside nginx where it is installed."""
