"""Warp and M: a STAR file of RELION 3's kind that WarpTools ts_export_particles and MTools create_species read.

Positions are in px from the corner, rlnOrigin is 0 by not being there, angles are RELION's. M takes the pixel size of
the first row for all, so there is one; it finds a tilt series by the name of its tomostar file (Warp e321344,
MTools/Commands/CreateSpecies.cs, WarpTools/Commands/Tiltseries/ExportParticlesTiltseries.cs).
"""

from __future__ import annotations

import pandas as pd

from stacycle.exports.export import Export, ExportAsked, Exported, Particles
from stacycle.files import star
from stacycle.files.star_labels import ANGLES, CORNER, SUBSET
from stacycle.inputs.pick_formats.star import OF_WARP


def make(particles: Particles, asked: ExportAsked) -> Exported:
    """particles.star."""
    of_user = particles.names_of_user
    pixel = asked.pixel or min(particles.tomograms[name].pixel for name in of_user)
    names = particles.table.rlnTomoName.map(of_user)
    table = pd.DataFrame({"rlnMicrographName": names.str.removesuffix(OF_WARP) + OF_WARP})
    table[CORNER] = particles.from_corner(asked) / pixel
    kept = [label for label in (*ANGLES, SUBSET, "rlnClassNumber") if label in particles.table]
    table[kept] = particles.table[kept]
    table["rlnOpticsGroup"] = 1
    group = {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"], "rlnImagePixelSize": [pixel]}
    text = star.to_text({"optics": pd.DataFrame(group), "particles": table})
    return Exported({"particles.star": text}, f"positions in px of {pixel:.9g} Å (--coords_angpix)")


EXPORT = Export("warp", frozenset({"pixel", "size", "include"}), make)
