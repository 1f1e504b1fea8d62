"""Results in words, tables and plots."""
