"""What people really have as inputs is taken rightly, with a word, or refused: never wrong in silence, never too late.

`python tests/unit/inputs/test_strange_inputs.py` prints the tables of docs/faults.md, which are tested.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from strange_inputs import ACCEPTED, ALL, REFUSED, REPORTED, SETS, Make, Strange, copy_set

from stacycle.files import mrc
from stacycle.inputs import merge
from stacycle.inputs.findings import Findings
from stacycle.programs import reconstruct_particle, subtomo, verify
from stacycle.programs.command import Command
from staengine import __main__ as engine

TABLE = Path(__file__).parents[3] / "docs" / "faults.md"
BOX = {"box": 24, "binning": 4, "threads": 1}
NAMED = {one.name: one for one in ALL}
TAKEN = [name for name, one in NAMED.items() if one.outcome != REFUSED]

Plain = Callable[[Make], np.ndarray]


def laid_out(folder: Path, make: Make) -> contextlib.chdir:
    """The context of a project in a new folder, with the sound set changed."""
    folder.mkdir()
    copy_set(folder)
    make(folder)
    return contextlib.chdir(folder)


def looked_at(one: Strange) -> tuple[bool, list[str]]:
    """Whether preflight refuses an input, and what it says."""
    found = Findings()
    refused = merge.read(one.sets, found, one.duplicates) is None
    return refused, list(map(str, found.problems if refused else found.warnings))


def average(sets: Sequence[dict[str, str]] = SETS, duplicates: str = "refuse") -> np.ndarray:
    """What the first jobs make of inputs, with the checks before and after each."""
    merge.merge(sets, "results/inputs", duplicates=duplicates)
    picks, tomograms = (f"results/inputs/{name}.star" for name in ("particles", "tomograms"))
    lines = {
        "extract": subtomo.argv(
            **{"particles": picks, "tomograms": tomograms, "trajectories": None, "out": "results/extract"},
            **{"crop": None, "max_dose": None, "min_frames": 1, "float16": True, **BOX},
        ),
        "average": reconstruct_particle.argv(
            state="results/extract/optimisation_set.star", out="results/average", symmetry="C1", **BOX
        ),
    }
    for folder, argv in lines.items():
        Path(f"results/{folder}").mkdir()
        command = Command.of(argv)
        verify.check_inputs(command)
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as said:
            assert engine.main(argv) == 0
        said.seek(0)
        verify.check_outputs(command, [], said.read().splitlines())
    return np.array(mrc.voxels("results/average/merged.mrc"), np.float64)


def plain_averages(root: Path) -> Plain:
    """The averages of plain inputs, each made once."""

    @cache
    def of(make: Make) -> np.ndarray:
        with laid_out(root / str(len(list(root.iterdir()))), make):
            return average()

    return of


def correlation(one: Strange, folder: Path, plain: Plain) -> str:
    """How the average of an input correlates with that of the plain one."""
    assert one.same_as is not None
    expected = plain(one.same_as)
    with laid_out(folder, one.make):
        return f"{np.corrcoef(average(one.sets, one.duplicates).ravel(), expected.ravel())[0, 1]:.4f}"


@cache
def told() -> dict[str, list[str]]:
    """The rows of docs/faults.md: what an input is called -> what is said of it, and the correlation."""
    rows = [
        line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    return plain_averages(tmp_path_factory.mktemp("plain"))


def test_there_are_at_least_60_and_each_has_a_name_of_its_own() -> None:
    assert len(ALL) == len(NAMED) >= 60


def test_what_people_reported_is_among_them() -> None:
    assert set(REPORTED.values()) <= set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_preflight_refuses_warns_or_is_content(name: str, tmp_path: Path) -> None:
    one = NAMED[name]
    with laid_out(tmp_path / "project", one.make):
        refused, said = looked_at(one)
        assert not Path("results").exists(), "something was written"
    assert refused == (one.outcome == REFUSED), said
    assert (said == []) == (one.outcome == ACCEPTED), said
    assert not one.says or any(re.search(one.says, sentence) for sentence in said), said
    assert told()[name][0] == (" ".join(said) or "–")


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_what_preflight_takes_no_job_refuses_and_the_average_is_that_of_the_plain_set(
    name: str, tmp_path: Path, plain: Plain
) -> None:
    found = correlation(NAMED[name], tmp_path / "project", plain)
    assert float(found) > 0.995, found
    assert told()[name][1] == found


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "plain").mkdir()
        plain = plain_averages(root / "plain")
        for taken in (True, False):
            print("| input | what preflight says |" + " correlation |" * taken)
            print("|---|---|" + "---|" * taken)
            for number, one in enumerate(one for one in ALL if (one.name in TAKEN) == taken):
                with laid_out(root / f"{taken}{number}", one.make):
                    _, said = looked_at(one)
                cells = [one.name, " ".join(said) or "–"]
                cells += [correlation(one, root / f"average{number}", plain)] if taken else []
                print("|", " | ".join(cells), "|")
            print()


if __name__ == "__main__":
    sys.exit(main())
