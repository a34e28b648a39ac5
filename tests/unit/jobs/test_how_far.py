"""A classification that is ended before its last iteration: what is there then, and how it goes on if it is to."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from stacycle.errors import UserError
from stacycle.files import mrc, relion_output
from stacycle.jobs import how_far, job
from stacycle.programs import refine, refine_iterations

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
EMBEDDED = {"kind": "embedded"}
HOW_FAR = "job/iterations.json"
LAST = 5


pytestmark = pytest.mark.usefixtures("golden_project")


def classify(in_vain: how_far.InVain | None, limit: int = LAST, *asked: int, folder: str = "job") -> None:
    """Classes without alignment, at most `limit` iterations; the output that is asked for is how far it went, or these
    iterations."""
    argv = refine.class3d(
        state="extract/optimisation_set.star",
        reference="average/merged.mrc",
        out=f"{folder}/run",
        T=0.5,
        classes=2,
        iterations=limit,
        lowpass=50,
        mask_diameter=330,
        highres_limit=45,
        symmetry="C1",
        seed=1,
        pool=3,
        threads=1,
        scratch=None,
    )
    expected = [f"{folder}/run_it{n:03d}_{of}.star" for n in asked for of in ("data", "model")]
    outputs = expected or [f"{folder}/iterations.json"]
    job.run(argv, folder, engine=EMBEDDED, expected_outputs=outputs, in_vain=in_vain)


def after(number: int) -> how_far.InVain:
    """More than so many iterations are in vain."""
    return lambda folder, iteration: "it is enough" if iteration >= number else ""


def told() -> dict:
    return json.loads(Path(HOW_FAR).read_text())


def record() -> dict:
    return json.loads(Path("job/job.json").read_text())


def starts() -> list:
    """From which iteration each start of the program went on."""
    return [run["continued_from"] for run in record()["runs"]]


def there(folder: str = "job") -> list[int]:
    """The iterations of which there are files."""
    return sorted(refine_iterations.iterations(f"{folder}/run"))


def stamps() -> dict[int, int]:
    return {n: Path(f"job/run_it{n:03d}_class001.mrc").stat().st_mtime_ns for n in there()}


def test_a_run_ends_where_more_is_in_vain_and_leaves_nothing_of_later_iterations(caplog) -> None:
    caplog.set_level(logging.INFO)
    classify(after(2), 20)
    assert there() == [0, 1, 2]
    assert {key: told()[key] for key in ("iterations", "limit", "why")} == {
        "iterations": 2,
        "limit": 20,
        "why": "it is enough",
    }
    assert told()["seconds_each"] > 0
    assert record()["ended_well"]
    assert "--iter 20" in record()["command"]
    assert "stopped at iteration 2 of 20: it is enough" in caplog.text
    classify(after(2), 20)
    assert starts() == [None], "kept"


def test_iterations_that_were_done_while_it_was_found_out_are_removed() -> None:
    """Where a run ends does not depend on how fast the files are read."""

    def slowly(folder: Path, iteration: int) -> str:
        while iteration == 2 and not (folder / "run_it004_data.star").exists():
            time.sleep(0.05)
        return after(2)(folder, iteration)

    classify(slowly, 40)
    assert there() == [0, 1, 2]
    assert told()["iterations"] == 2


def test_what_a_stopped_run_has_is_what_the_whole_run_had_then_also_if_it_is_continued() -> None:
    classify(None, LAST, LAST, folder="whole")
    classify(after(2))
    same(2)
    before = stamps()
    classify(after(LAST), LAST, LAST)
    assert there() == there("whole")
    assert starts() == [None, 2]
    assert {n: stamp for n, stamp in stamps().items() if n <= 2} == before, "done twice"
    assert told() | {"seconds_each": 0} == {"iterations": LAST, "limit": LAST, "why": "", "seconds_each": 0}
    same(LAST)
    assert not list(Path().glob("job.*")), "nothing had to be moved aside"


def same(iteration: int) -> None:
    """Whether the run in `job` is the one in `whole`, at an iteration."""
    ours, theirs = (relion_output.assignments(folder, iteration)["class"] for folder in ("job", "whole"))
    assert list(ours) == list(theirs)
    for number in (1, 2):
        name = f"run_it{iteration:03d}_class{number:03d}.mrc"
        ours, theirs = (mrc.voxels(Path(folder, name)).ravel() for folder in ("job", "whole"))
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999999


def test_another_limit_that_it_did_not_come_to_changes_nothing_but_what_is_said() -> None:
    classify(after(2))
    before = stamps()
    for limit in (LAST + 5, 2, LAST):
        classify(after(2), limit)
        assert (told()["iterations"], told()["limit"]) == (2, limit)
        assert told()["seconds_each"] > 0
    assert stamps() == before
    assert starts() == [None]
    classify(after(9), 1)
    assert there() == [0, 1], "less than there was: as any run of other settings"
    assert not Path("job.previous2").exists()


def test_a_run_that_need_not_stop_any_more_goes_on_to_its_end() -> None:
    classify(after(2))
    classify(how_far.never)
    assert starts() == [None, 2]
    assert told()["iterations"] == LAST
    classify(after(2))
    assert starts() == [None, 2], "what is there stays"
    assert there() == list(range(LAST + 1))


def test_an_iteration_that_is_there_is_given_though_the_run_was_stopped(caplog) -> None:
    classify(after(3))
    classify(after(3), LAST, 1)
    assert starts() == [None]
    classify(how_far.never, LAST, 1)
    assert starts() == [None, 3]


def test_a_run_that_was_killed_when_it_had_done_enough_has_nothing_to_do_but_to_be_tidied() -> None:
    classify(after(3))
    broken = record() | {"ended_well": False}
    del broken["runs"][-1]["exit_status"]
    Path("job/job.json").write_text(json.dumps(broken))
    Path(HOW_FAR).unlink()
    Path("job/run_it004_data.star").write_text("data_part")
    shutil.rmtree("job/.made")
    classify(after(3))
    assert starts() == [None]
    assert there() == [0, 1, 2, 3]
    assert told()["iterations"] == 3


def test_a_run_that_was_killed_goes_on_where_it_was_and_then_ends_as_it_would_have() -> None:
    classify(after(2))
    broken = record() | {"ended_well": False, "how_far": {}}
    del broken["runs"][-1]["exit_status"]
    Path("job/job.json").write_text(json.dumps(broken))
    before = stamps()
    classify(after(4))
    assert starts() == [None, 2]
    assert there() == [0, 1, 2, 3, 4]
    assert {n: stamp for n, stamp in stamps().items() if n <= 2} == before


def test_what_was_done_before_it_could_end_early_stays() -> None:
    classify(None, 3, 3)
    before = stamps()
    classify(after(2), 3)
    assert told()["iterations"] == 3
    assert stamps() == before
    assert starts() == [None]
    assert not list(Path().glob("job.*"))


def test_a_program_that_fails_has_failed_though_it_may_end_early(golden_project: Path) -> None:
    shutil.copytree(GOLDEN / "extract", golden_project / "broken")
    path = golden_project / "bin" / "relion_refine"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho ' Expectation iteration 1 of 5'\necho 'ERROR: no memory'\nexit 1\n")
    path.chmod(0o755)
    argv = ["relion_refine", "--ios", "extract/optimisation_set.star", "--o", "job/run", "--iter", "5"]
    argv += ["--ref", "average/merged.mrc"]
    engine = {"kind": "relion", "bin": str(path.parent)}
    with pytest.raises(UserError, match="no memory"):
        job.run(argv, "job", engine=engine, expected_outputs=[HOW_FAR], in_vain=after(1))
    assert not Path(HOW_FAR).exists()
