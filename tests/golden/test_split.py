"""Jobs that share the tomograms of a step, and the one result made of what they leave: that of one job."""

from __future__ import annotations

import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from pandas.api.types import is_numeric_dtype
from test_ranks import COMMANDS, GOLDEN, with_references

from stacycle.errors import UserError
from stacycle.files import star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.jobs import failure, job, record, share, share_record
from stacycle.programs import shares
from stacycle.programs.command import Command
from stacycle.provenance import origin
from stacycle.provenance import record as state_record

pytestmark = pytest.mark.slow

ENGINE = {"kind": "embedded", "bin": None, "scratch": None, "container": None, "module": None}
PROGRAM = "relion_tomo_align"
MINIMAL = ["--p", "particles.star", "--t", "tomograms.star", "--o", "many/"]
OUTPUTS = {
    "relion_tomo_subtomo": ["particles.star", "optimisation_set.star"],
    "relion_tomo_reconstruct_particle": ["merged.mrc", "half1.mrc", "half2.mrc"],
    "relion_tomo_refine_ctf": ["tomograms.star", "optimisation_set.star"],
    "relion_tomo_align": ["tomograms.star", "motion.star", "particles.star", "optimisation_set.star"],
}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unbinned half maps of the golden data, and a mask."""
    return with_references(tmp_path_factory.mktemp("references"))


@pytest.fixture
def project(references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in references.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(origin, "check", lambda _: None)  # golden data has no lineage
    monkeypatch.setattr(state_record, "of_program", lambda *_: [])
    return tmp_path


def command(program: str, out: str) -> list[str]:
    return [program, *(word.replace("OUT", out) for word in COMMANDS[program]), "--j", "1"]


def outputs(program: str, out: str) -> list[str]:
    return [f"{out}/{name}" for name in OUTPUTS[program]]


def in_shares(program: str, out: str, of: int = 2) -> list[Path]:
    """Do all shares of a command; their folders."""
    folders = [Path(f"{out}_shares/{number}of{of}") for number in range(1, of + 1)]
    for folder in folders:
        share.run(command(program, out), Path(out), folder, ENGINE)
    return folders


def merged(program: str, out: str, folders: list[Path]) -> None:
    used = [folder for folder in folders if share_record.tomograms(folder)]
    expected = outputs(program, out)
    job.run(command(program, out), out, engine=ENGINE, expected_outputs=expected, shares=used)


@pytest.mark.parametrize("program", OUTPUTS)
def test_shares_make_what_one_job_makes(project: Path, program: str) -> None:
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=outputs(program, "one"))
    folders = in_shares(program, "many", of=3)  # there are two tomograms: one share has none
    assert sum(bool(share_record.tomograms(folder)) for folder in folders) == 2
    merged(program, "many", folders)
    for name in OUTPUTS[program]:
        same(Path("one", name), Path("many", name))
    names = {path.relative_to("one") for path in Path("one").rglob("*.mrcs")}
    assert names == {path.relative_to("many") for path in Path("many").rglob("*.mrcs")}
    for name in names:  # the label in a header has the date
        assert Path("one", name).read_bytes()[1024:] == Path("many", name).read_bytes()[1024:]


def same(one: Path, other: Path) -> None:
    """The same tables but for the folders that they name; maps that correlate to 1 - 1e-6 at least."""
    if one.suffix == ".mrc":
        maps = (mrcfile.read(path).astype(float).ravel() for path in (one, other))
        assert 1 - np.corrcoef(*maps)[0, 1] < 1e-12
        return
    if one.name == "optimisation_set.star":
        texts = (str(OptimisationSet.read(path)) for path in (one, other))
        assert len({text.replace("many/", "one/") for text in texts}) == 1
        return
    mine, theirs = star.read(one), star.read(other)
    assert mine.keys() == theirs.keys()
    for name, table in mine.items():
        assert list(table) == list(theirs[name])
        for label in table:
            if not is_numeric_dtype(table[label]):
                texts = [value.replace("many/", "one/") for value in theirs[name][label]]
                assert texts == list(table[label]), (one, name, label)
            else:  # numbers are written with six digits after the point, or as they were
                np.testing.assert_allclose(theirs[name][label], table[label], atol=1e-6)


def test_a_share_does_its_tomograms_alone(project: Path) -> None:
    folders = in_shares("relion_tomo_refine_ctf", "many")
    done = [sorted(path.stem for path in folder.glob("temp/*.npz")) for folder in folders]
    assert sorted(done) == [["TS_01"], ["TS_02"]]


def test_what_the_merge_takes_is_not_computed_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = in_shares("relion_tomo_refine_ctf", "many")
    merged("relion_tomo_refine_ctf", "many", folders)
    assert "Tomogram 1 / 2" not in Path("many/run.out").read_text()


def test_a_merge_that_was_cut_off_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the files of one share have been taken."""
    program, take, taken = "relion_tomo_align", shares._take_files, []

    def once(before: Path, now: Path) -> None:
        if taken:
            raise KeyboardInterrupt
        taken.append(before)
        take(before, now)

    folders = in_shares(program, "many")
    monkeypatch.setattr(shares, "_take_files", once)
    with pytest.raises(KeyboardInterrupt):
        merged(program, "many", folders)
    monkeypatch.setattr(shares, "_take_files", take)
    merged(program, "many", folders)
    assert "Tomogram 1 / 2" not in Path("many/run.out").read_text()
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=outputs(program, "one"))
    same(Path("one/motion.star"), Path("many/motion.star"))


def test_no_share_is_done_of_a_result_that_is_there(project: Path) -> None:
    program = "relion_tomo_reconstruct_particle"
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=outputs(program, "one"))
    (folder,) = in_shares(program, "one", of=1)
    assert not share_record.tomograms(folder)
    assert not (folder / "run.out").exists()


def test_shares_of_another_command_are_refused(project: Path) -> None:
    program = "relion_tomo_subtomo"
    folders = in_shares(program, "many")
    other = [word if word != "24" else "32" for word in command(program, "many")]
    with pytest.raises(UserError, match=r"1of2: was not made of what the whole is to be made of now; delete"):
        job.run(other, "many", engine=ENGINE, expected_outputs=outputs(program, "many"), shares=folders)


def test_a_share_that_was_killed_goes_on(project: Path) -> None:
    program, folder = "relion_tomo_refine_ctf", Path("many_shares/1of1")
    in_shares(program, "many", of=1)
    known = record.read(folder)
    known["runs"][-1] |= {"exit_status": -9}
    record.write(folder, known | {"ended_well": False})
    (folder / "temp/TS_02.npz").unlink()
    (folder / "run.out").unlink()
    in_shares(program, "many", of=1)
    said = (folder / "run.out").read_text()
    assert "--only_do_unfinished" in said
    assert said.count("Loading") == 1


def test_without_half_sets_a_share_is_of_all_particles(project: Path) -> None:
    words = ["relion_tomo_reconstruct_particle", "--i", "extract/optimisation_set.star", "--b", "24"]
    words += ["--bin", "4", "--j", "1", "--o"]
    job.run([*words, "one/"], "one", engine=ENGINE, expected_outputs=["one/merged.mrc"])
    folders = [Path(f"many_shares/{number}of2") for number in (1, 2)]
    for folder in folders:
        share.run([*words, "many/"], Path("many"), folder, ENGINE)
    job.run([*words, "many/"], "many", engine=ENGINE, expected_outputs=["many/merged.mrc"], shares=folders)
    same(Path("one/merged.mrc"), Path("many/merged.mrc"))


def test_trajectories_of_particles_that_a_share_lost_are_left_out(project: Path) -> None:
    """A particle far outside of its tomogram is seen in no tilt."""
    polished = [
        "--p",
        "moved/particles.star",
        "--t",
        "cycle/polish/tomograms.star",
        "--mot",
        "moved/motion.star",
    ]
    Path("moved").mkdir()
    tables = star.read(GOLDEN / "cycle/polish/particles.star")
    shutil.copy(GOLDEN / "cycle/polish/motion.star", "moved/motion.star")
    tables["particles"].loc[3, "rlnCenteredCoordinateXAngst"] = 1e5
    star.write("moved/particles.star", tables)
    words = [
        "relion_tomo_subtomo",
        *polished,
        "--b",
        "24",
        "--bin",
        "4",
        "--stack2d",
        "--float16",
        "--j",
        "1",
    ]
    expected = OUTPUTS["relion_tomo_subtomo"]
    for out, folders in {"one": [], "many": [Path(f"many_shares/{number}of2") for number in (1, 2)]}.items():
        for folder in folders:
            share.run([*words, "--o", f"{out}/"], Path(out), folder, ENGINE)
        paths = [f"{out}/{name}" for name in expected]
        job.run([*words, "--o", f"{out}/"], out, engine=ENGINE, expected_outputs=paths, shares=folders)
    for name in (*expected, "motion.star"):
        same(Path("one", name), Path("many", name))


def test_tomograms_are_dealt_out_by_their_particles() -> None:
    tomograms = [("a", 10), ("b", 90), ("c", 50), ("d", 40), ("e", 1)]
    loads = [sum(dict(tomograms)[name] for name in one) for one in shares.dealt(tomograms, 2)]
    assert max(loads) <= 100


@pytest.mark.parametrize("program", ["relion_tomo_refine_ctf", "relion_tomo_align"])
@pytest.mark.parametrize("of", [0, 2], ids=["one job does the rest", "jobs share the rest"])
def test_what_was_tried_on_a_share_before_makes_what_one_job_makes(
    project: Path, program: str, of: int
) -> None:
    tried = Path("tried/1of2")
    share.run(command(program, "many"), Path("many"), tried, ENGINE)
    rest = [Path(f"many_shares/{number}of{of}") for number in range(1, of + 1)]
    for folder in rest:
        share.run(command(program, "many"), Path("many"), folder, ENGINE, done=[tried])
    merged(program, "many", [tried, *rest])
    assert "Tomogram 1 / 2" not in Path("many/run.out").read_text(), "the share is not computed again"
    assert [name for folder in rest for name in share_record.tomograms(folder)] == ["TS_02"][: len(rest)]
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=outputs(program, "one"))
    for name in OUTPUTS[program]:
        same(Path("one", name), Path("many", name))


def test_a_job_that_is_ended_early_keeps_a_result_that_is_there_and_makes_none(project: Path) -> None:
    program, why = "relion_tomo_refine_ctf", "others are better"
    expected = outputs(program, "one")
    with failure.tolerate_failure("one", expected):
        job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=expected, ended=why)
    assert [Path(path).stat().st_size for path in expected] == [0, 0]
    assert (failure.why_ended("one"), failure.cause_of_failure("one")) == (f"{why}.", "")
    with pytest.raises(failure.EndedEarly, match=why):
        failure.raise_if_upstream_failed(expected)
    share.run(command(program, "one"), Path("one"), Path("one_shares/1of2"), ENGINE, ended=why)
    assert not share_record.tomograms(Path("one_shares/1of2"))
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=expected)
    assert failure.why_ended("one") == ""
    made = Path("one/tomograms.star").read_text()
    job.run(command(program, "one"), "one", engine=ENGINE, expected_outputs=expected, ended=why)
    assert Path("one/tomograms.star").read_text() == made


def test_a_launcher_with_blanks_in_an_option_starts_a_share_too() -> None:
    whole = Command.of([*("srun", "--comment=two words", "-n", "4"), f"{PROGRAM}_mpi", *MINIMAL])
    own = shares.command_of_share(whole, "share.star", Path("many_shares/1of2"), 3)
    assert own.launcher == ("srun", "--comment=two words", "-n", "3")
