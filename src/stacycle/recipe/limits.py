"""Limits that both the checks before a run and the decisions after it use."""

FEWEST_PER_CLASS = 25  # particles; fewer make no map by which a class can be recognised
