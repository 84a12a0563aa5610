"""Benchmarks: they measure and print, and fail only when what they measure does not run."""
