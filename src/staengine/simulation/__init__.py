"""Simulated tilt series, and how far results are from their truth."""
