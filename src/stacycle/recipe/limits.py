"""Limits that both the checks before a run and the decisions after it use."""

FEW = 1000  # picks; fewer are classified with a lower T and to a coarser limit
FEWEST_PER_CLASS = 25  # particles; fewer make no map by which a class can be recognised
