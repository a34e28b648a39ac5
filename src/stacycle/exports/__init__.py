"""Particles for other programs: a format is one module, found by its `EXPORT`."""
