"""Inputs: sets of tomograms and picks, read, checked and merged."""
