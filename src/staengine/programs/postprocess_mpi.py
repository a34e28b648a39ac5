"""relion_postprocess_mpi: as relion_postprocess; RELION's shares the spheres of --locres among its ranks."""

from __future__ import annotations

from staengine.programs import postprocess


def main(argv: list[str]) -> int:
    return postprocess.main(argv)
