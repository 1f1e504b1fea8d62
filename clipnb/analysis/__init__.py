"""What runs and logs say: scores, contrasts, thresholds, severities, as frames; no prose and no plots."""
