"""Provenance: which particles, tomograms and maps belong together."""
