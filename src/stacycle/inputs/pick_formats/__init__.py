"""The formats of picks: one module each, found by its `FORMAT`."""
