"""The fingerprint of a command: what changes a result changes it, and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from stacycle.files import content, star
from stacycle.jobs import fingerprint
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
REFINE = (
    "relion_refine --o job/run --ios extract/optimisation_set.star --ref average/merged.mrc --iter 5 --j 2"
)
CTF = "relion_tomo_refine_ctf --o job/ --i extract/optimisation_set.star --ref1 average/merged.mrc --b 64"
EXTRACT = "relion_tomo_subtomo --o job/ --p input/particles.star --t input/tomograms.star --b 24"
POSTPROCESS = "relion_postprocess --o job/postprocess --i half1.mrc --angpix -1"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("input", "extract", "average"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for half in ("half1.mrc", "half2.mrc"):
        Path(half).write_text(half)


def take(command: str) -> fingerprint.Fingerprint:
    return fingerprint.take(Command.of(command.split()), "job", "relion", fingerprint.Digests())


def rewrite(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def grow(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("command", [REFINE, CTF, EXTRACT, POSTPROCESS])
def test_it_is_the_same_each_time_and_survives_json(command) -> None:
    assert json.loads(json.dumps(take(command))) == take(command)


@pytest.mark.parametrize(
    ("command", "change", "told"),
    [
        (REFINE, lambda: rewrite("extract/particles.star", "0.000000", "0.000001"), "particles"),
        (REFINE, lambda: rewrite("input/tomograms.star", "2.700000", "2.000000"), "tomograms"),
        (REFINE, lambda: rewrite("input/tilt_series/TS_02.star", "0.000000", "1.000000"), "tomograms"),
        (REFINE, lambda: grow("extract/Subtomograms/TS_02/5_stack2d.mrcs"), "particles"),
        (REFINE, lambda: grow("average/merged.mrc"), "--ref"),
        (CTF, lambda: grow("average/merged.mrc"), "--ref1"),
        (CTF, lambda: rewrite("input/tilt_series/TS_01.star", "0.000000", "1.000000"), "tomograms"),
        (EXTRACT, lambda: rewrite("input/particles.star", "-0.261009", "-0.261008"), "particles"),
        (POSTPROCESS, lambda: grow("half1.mrc"), "--i"),
        (POSTPROCESS, lambda: grow("half2.mrc"), "second half"),
    ],
)
def test_another_content_of_any_input_is_seen_and_named(command, change, told) -> None:
    before = take(command)
    change()
    assert fingerprint.changes(before, take(command)) == [told]


@pytest.mark.parametrize(("old", "new"), [("--iter 5", "--iter 6"), ("--j 2", "--skip_align")])
def test_another_argument_is_seen_and_named(old, new) -> None:
    assert fingerprint.changes(take(REFINE), take(REFINE.replace(old, new))) == [new.split()[0]]


@pytest.mark.parametrize(
    "command",
    [
        REFINE.replace("--j 2", "--j 8 --pool 30 --gpu 0:1 --scratch_dir /scratch"),
        "mpirun -n 3 " + REFINE.replace("relion_refine", "relion_refine_mpi"),
        REFINE.replace("average/merged.mrc", "average/../average/merged.mrc"),
    ],
)
def test_where_and_how_fast_it_runs_and_the_spelling_of_a_path_are_not_seen(command) -> None:
    assert take(command) == take(REFINE)


@pytest.mark.parametrize("form", ["", ":mrcs"])
def test_a_tilt_image_that_was_written_again_is_seen_by_programs_that_read_it(form) -> None:
    series = Path("input/tilt_series/TS_01.star")
    series.write_text(series.read_text().replace(".mrcs", f".mrcs{form}"))
    image = Path(
        star.column("input/tilt_series/TS_01.star", "rlnMicrographName")[0]
        .rpartition("@")[2]
        .removesuffix(form)
    )
    image.parent.mkdir(exist_ok=True, parents=True)
    image.write_text("a")
    before, refine = take(EXTRACT), take(REFINE)
    os.utime(image, (1, 1))
    assert fingerprint.changes(before, take(EXTRACT)) == ["tomograms"]
    assert take(REFINE) == refine


def test_of_extracted_stacks_the_extractions_own_fingerprint_counts() -> None:
    Path("extract/job.json").write_text(json.dumps({"fingerprint": {"--b": 24}}))
    before = take(REFINE)
    grow("extract/Subtomograms/TS_02/5_stack2d.mrcs")
    assert take(REFINE) == before
    Path("extract/job.json").write_text(json.dumps({"fingerprint": {"--b": 32}}))
    assert fingerprint.changes(before, take(REFINE)) == ["particles"]


def test_a_large_file_that_has_not_changed_is_not_read_twice(monkeypatch) -> None:
    Path("large.mrc").write_bytes(bytes(content.LARGE))
    digests = fingerprint.Digests()
    first = digests.of("large.mrc")
    again = fingerprint.Digests(json.loads(json.dumps(digests.known)))
    monkeypatch.setattr(fingerprint.hashlib, "file_digest", lambda *_: pytest.fail("was read"))
    assert again.of("large.mrc") == first
    assert again.known == digests.known
