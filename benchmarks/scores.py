"""How well scores of simulated particles tell true ones from junk.

`python benchmarks/scores.py ROUND PROJECT DIAMETER [PROJECT DIAMETER ...]`: projects with `truth.star` beside the
`particles.star` that was simulated, whose ROUND has been refined (`benchmarks/small_sets.py` makes such projects). The
cut is that of `auto`, whatever the projects' own configs say.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stacycle.decisions.score import FLAGGED, SCORE, decide_cut
from stacycle.files import star
from stacycle.files.star_labels import CENTRED
from stacycle.scoring.scores import score_particles

_PLACE = ["rlnTomoName", *CENTRED]
_HEADER = (
    "| set | true, junk | score of true | of junk | z of true | of junk | rejected | kept | ms a particle |"
)


def are_junk(refined: pd.DataFrame, project: Path) -> NDArray[np.bool_]:
    """Which of the refined particles were simulated as junk."""
    picks = star.read(project / "particles.star")["particles"][_PLACE].round(2)
    kinds = picks.assign(kind=star.read(project / "truth.star")["truth"]["trueClass"])
    found = refined[_PLACE].round(2).merge(kinds, on=_PLACE, how="left", validate="one_to_one")["kind"]
    if found.isna().any():
        raise SystemExit(f"{project}: particles.star does not have all that were refined")
    return (found == "junk").to_numpy()


def row(project: Path, round_: str, diameter: float) -> str:
    """A line of the table, of one project."""
    refined = f"results/{round_}/refine3d/run"
    halves = [f"{refined}_half{half}_class001_unfil.mrc" for half in (1, 2)]
    with contextlib.chdir(project):
        start = time.process_time()
        scores = score_particles(f"{refined}_optimisation_set.star", halves, diameter)
        used = 1e3 * (time.process_time() - start) / len(scores)
        junk = are_junk(star.read(f"{refined}_data.star")["particles"], Path())
    _, scores = decide_cut(scores, "auto", "cut")
    true, false = scores[~junk], scores[junk]
    cells = [project.name, f"{len(true)}, {len(false)}"]
    cells += [f"{part[SCORE].mean():.2f} ± {part[SCORE].std():.2f}" for part in (true, false)]
    cells += [f"{part['z'].mean():.1f}" for part in (true, false)]
    cells += [f"{false[FLAGGED].mean():.0%}", f"{1 - true[FLAGGED].mean():.1%}", f"{used:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("round")
    parser.add_argument("projects", nargs="+", metavar="PROJECT DIAMETER")
    arguments = parser.parse_args()
    print(_HEADER + "\n" + "|---" * (_HEADER.count("|") - 1) + "|", flush=True)
    for project, diameter in zip(arguments.projects[::2], arguments.projects[1::2], strict=True):
        print(row(Path(os.path.abspath(project)), arguments.round, float(diameter)), flush=True)


if __name__ == "__main__":
    main()
