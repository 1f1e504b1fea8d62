"""Intervals, tests and effect sizes over categories: pure functions on arrays."""
