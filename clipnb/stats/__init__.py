"""Intervals, tests and effect sizes over categories, as pure functions on arrays."""
