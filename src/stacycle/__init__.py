"""The subtomogram-averaging cycle of RELION 5 as a Snakemake workflow: the library behind its rules."""

__version__ = "0.2.0"
