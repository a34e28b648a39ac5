"""Trajectories of particles, as polishing writes them: a table of three columns for each particle.

They stay text: there is a table for each of 50,000 particles, too many to parse in full.
"""

from __future__ import annotations

from pathlib import Path

from stacycle.files import star


def read(path: str | Path) -> dict[str, list[str]]:
    """The shifts of each tilt (see `shifts`) by the particle's name. UserError if the file cannot be read."""
    return {name: shifts(text) for name, text in star.blocks(path) if name != "general"}


def shifts(table: str) -> list[str]:
    """The shifts (Å) of a particle, given its table as text: x, y, z of each tilt, one after the other."""
    return table.rpartition("_rln")[2].partition("\n")[2].partition("#")[0].split()
