"""The project as RELION's own, for its GUI and the viewers of its pipeline: `results/relion/`."""
