"""RELION's programs, each a command line over the packages beside it."""
