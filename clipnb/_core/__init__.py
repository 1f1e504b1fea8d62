"""Helpers for every layer: files, paths, registries and seeded randomness. Nothing here knows about photographs."""
