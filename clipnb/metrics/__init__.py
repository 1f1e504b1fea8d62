"""Measures of retrieval, as pure functions on arrays."""
