"""Limits that a check before the run and a decision after it share."""

FEWEST_PER_CLASS = 25  # particles; fewer make no map that tells a class
