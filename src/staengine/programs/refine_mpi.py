"""relion_refine_mpi: as relion_refine, and the one that refines in half sets."""

from __future__ import annotations

from staengine.programs import refine


def main(argv: list[str]) -> int:
    return refine.main(argv, is_mpi=True)
