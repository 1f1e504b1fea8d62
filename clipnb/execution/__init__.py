"""Execution of many runs: pages of the book, sweeps, and the papermill plug-in."""
