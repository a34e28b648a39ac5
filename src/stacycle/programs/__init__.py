"""RELION's programs: their command lines, and where they are."""
