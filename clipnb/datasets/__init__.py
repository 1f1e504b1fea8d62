"""Where photographs come from, how they are read, and what a set of them holds."""
