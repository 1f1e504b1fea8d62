"""What every layer may use: files, paths, registries, seeded randomness; nothing about photographs."""
