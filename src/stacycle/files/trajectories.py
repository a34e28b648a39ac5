"""Trajectories of particles, as polishing writes them: a table of three columns for each particle."""

from __future__ import annotations

from pathlib import Path

from stacycle.files import star


def read(path: str | Path) -> dict[str, list[str]]:
    """The shifts (Å) along x, y and z of each tilt, one after the other, by the particle's name.

    They stay text: there is a table for each of 50,000 particles, too many to parse in full. UserError if the file
    cannot be read.
    """
    return {name: _values(text) for name, text in star.blocks(path) if name != "general"}


def _values(table: str) -> list[str]:
    """All values below the last label of a table."""
    return table.rpartition("_rln")[2].partition("\n")[2].partition("#")[0].split()
