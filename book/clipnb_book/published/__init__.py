"""What the original study printed."""
