"""Scores, contrasts, thresholds and severities of runs and logs, as data frames; no prose and no plots."""
