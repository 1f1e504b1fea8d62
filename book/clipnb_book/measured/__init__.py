"""Numbers from real photographs that are not part of the project."""
