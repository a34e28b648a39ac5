"""The names of what is in `results/final/`. The workflow's start needs these alone, so nothing is imported here."""

from __future__ import annotations

FOLDER = "results/final"
SHARPENED, UNSHARPENED, MASK = "map_sharpened.mrc", "map_unsharpened.mrc", "mask.mrc"
HALVES = ("half1.mrc", "half2.mrc")
LOCAL, FILTERED = "local_resolution.mrc", "map_local_resolution.mrc"
FSC, CURVES, PLOT = "fsc.xml", "fsc.tsv", "fsc.png"
PARTICLES, TOMOGRAMS, MOTION, STATE = (
    "particles.star",
    "tomograms.star",
    "motion.star",
    "optimisation_set.star",
)
PICTURE, README, METHODS, VIEW, CONTENTS = "map.png", "README.md", "methods.md", "view.cxc", "files.tsv"
# What a making writes in any case, by which Snakemake knows it, with the pictures. Links are not among it: Snakemake
# would make the results that they are of newer. Nor is the table, which tells the next making what there was.
WRITTEN = (README, METHODS, CURVES, STATE, VIEW)
