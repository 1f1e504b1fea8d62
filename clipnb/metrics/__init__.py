"""Measures of retrieval: pure functions on arrays."""
