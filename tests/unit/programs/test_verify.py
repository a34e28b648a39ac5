"""Inputs and results that are sound pass, whatever they look like; 50,000 particles are looked at in seconds."""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from stacycle.errors import ProgramFailed, UserError
from stacycle.files import mrc, star
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.programs import verify
from stacycle.programs.command import Command

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
ALIGN = "relion_refine --ios extract/optimisation_set.star --ref average/merged.mrc --iter 5 --o align/run"
EXTRACT = "relion_tomo_subtomo --p input/particles.star --t input/tomograms.star --b 24 --bin 4 --o extract/ --stack2d"


def command(line: str) -> Command:
    return Command.of(line.split())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RELION's extraction and alignment, to be changed."""
    for folder in ("input", "extract", "average", "align", "classify"):
        shutil.copytree(
            GOLDEN / folder, tmp_path / folder, ignore=shutil.ignore_patterns("phantom*", "run_it000*")
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_tomograms_without_particles_need_no_images(project: Path) -> None:
    particles = star.read("input/particles.star")
    particles["particles"] = particles["particles"].query("rlnTomoName == 'TS_01'")
    star.write("input/particles.star", particles)
    Path("input/tilt_series/TS_02.mrcs").unlink()
    verify.check_inputs(command(EXTRACT))


def test_particles_of_one_half_set_may_be_classified(project: Path) -> None:
    particles = star.read("extract/particles.star")
    particles["particles"]["rlnRandomSubset"] = 1
    star.write("extract/particles.star", particles)
    verify.check_inputs(command(ALIGN))
    with pytest.raises(UserError, match="not in two half sets"):
        verify.check_inputs(command(f"{ALIGN} --split_random_halves"))
    particles["particles"]["rlnRandomSubset"] = ["1.000000", "2.000000"] * 32
    star.write("extract/particles.star", particles)
    verify.check_inputs(command(f"{ALIGN} --split_random_halves"))


def test_a_class_that_lost_all_its_particles_is_no_fault_but_an_average_of_nothing_is(project: Path) -> None:
    empty = np.zeros((24, 24, 24), np.float32)
    mrcfile.write("classify/run_it010_class002.mrc", empty, voxel_size=20, overwrite=True)
    classify = "relion_refine --ios align/run_it005_optimisation_set.star --iter 10 --o classify/run --K"
    verify.check_outputs(command(f"{classify} 3"), [], [])
    mrcfile.write("align/run_it005_class001.mrc", empty, voxel_size=20, overwrite=True)
    with pytest.raises(ProgramFailed, match="shows nothing"):
        verify.check_outputs(command(ALIGN), [], [])


def test_particles_that_the_program_says_it_dropped_are_not_missed(project: Path) -> None:
    text = Path("extract/particles.star").read_text().rstrip().splitlines()
    Path("extract/particles.star").write_text("\n".join(text[:-1]) + "\n")
    said = "   !One particle was removed because it was too close to the edge in all images."
    verify.check_outputs(command(EXTRACT), [], [said])
    with pytest.raises(ProgramFailed, match=r"has 63 particles, but input/particles\.star has 64"):
        verify.check_outputs(command(EXTRACT), [], [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("relion_refine --i extract/particles.star --o align/run", "is given no particles or no tomograms"),
        ("relion_postprocess --o postprocess/postprocess", "is not given two half maps"),
    ],
)
def test_a_command_without_an_input_that_it_needs_is_refused(
    project: Path, line: str, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        verify.check_inputs(command(line))


def test_postprocessing_without_a_mask_has_one_fsc_only(project: Path) -> None:
    for folder in ("postprocess", "refine"):
        shutil.copytree(GOLDEN / folder, folder)
    tables = star.read("postprocess/postprocess.star")
    unmasked = ["rlnAngstromResolution", "rlnFourierShellCorrelationUnmaskedMaps"]
    star.write("postprocess/postprocess.star", tables | {"fsc": tables["fsc"][unmasked]})
    made = command("relion_postprocess --i refine/run_half1_class001_unfil.mrc --o postprocess/postprocess")
    verify.check_outputs(made, [], [])
    star.write("postprocess/postprocess.star", tables | {"fsc": tables["fsc"][unmasked[:1]]})
    with pytest.raises(ProgramFailed, match="no column rlnFourierShellCorrelation"):
        verify.check_outputs(made, [], [])


@pytest.mark.parametrize("leader", ["", " on follower 1"], ids=["one process", "MPI"])
def test_a_refinement_on_gpus_says_that_its_cpu_instructions_run_too(leader: str, project: Path) -> None:
    on_cpus = [" Running CPU instructions in double precision. "]
    on_gpus = [f" Thread {thread}{leader} mapped to device 0" for thread in range(2)]
    verify.check_outputs(command(f"{ALIGN} --gpu"), [], [*on_gpus, *on_cpus])
    with pytest.raises(ProgramFailed, match="ran on the CPU"):
        verify.check_outputs(command(f"{ALIGN} --gpu"), [], on_cpus)


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_was_not_written_is_reported_with_the_programs_last_words(
    project: Path, content: bytes | None
) -> None:
    Path("average/merged.mrc").unlink()
    if content is not None:
        Path("average/merged.mrc").write_bytes(content)
    with pytest.raises(ProgramFailed, match=r"it did not write average/merged\.mrc\..* one \| two"):
        verify.check_outputs(
            command(EXTRACT), ["extract/particles.star", "average/merged.mrc"], ["one", "two"]
        )


def test_the_trajectories_of_an_optimisation_set_are_those_of_its_particles(project: Path) -> None:
    for folder in ("cycle", "refine"):
        shutil.copytree(GOLDEN / folder, folder)
    state = "cycle/polish/optimisation_set.star"
    reconstruct = command(f"relion_tomo_reconstruct_particle --i {state} --b 96 --bin 1 --o cycle/out/")
    verify.check_inputs(reconstruct)
    change("cycle/polish/motion.star", "data_TS_01/7\n", "data_TS_01/77\n")
    for look, error in (
        (lambda: verify.check_inputs(reconstruct), UserError),
        (lambda: polished(), ProgramFailed),
    ):
        with pytest.raises(error, match=r"motion\.star: has no trajectory of particle TS_01/7 in"):
            look()


def polished() -> None:
    verify.check_outputs(
        command("relion_tomo_align --i cycle/ctf/optimisation_set.star --o cycle/polish/"), [], []
    )


def big_endian(old: bytes) -> bytes:
    words = np.frombuffer(old[:1024], "<u4").byteswap().tobytes()
    return words + np.frombuffer(old[1024:], "<f4").byteswap().tobytes()


def wrong_stamp(old: bytes) -> bytes:
    return old[:212] + bytes(4) + old[216:]


def extended(old: bytes) -> bytes:
    return old[:92] + struct.pack("<i", 80) + old[96:1024] + bytes(80) + old[1024:]


@pytest.mark.parametrize("write", [big_endian, wrong_stamp, extended])
def test_a_map_is_read_in_either_byte_order_with_any_stamp_and_extended_header(
    tmp_path: Path, write: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "map.mrc"
    path.write_bytes(write((GOLDEN / "average/merged.mrc").read_bytes()))
    assert mrc.box_and_pixel(path) == (24, 20)
    with mrcfile.open(GOLDEN / "average/merged.mrc", permissive=True) as file:
        assert np.array_equal(mrc.voxels(path), file.data)


def test_a_microscopes_images_may_be_followed_by_something_but_a_map_may_not(project: Path) -> None:
    for path in ("input/tilt_series/TS_01.mrcs", "average/merged.mrc"):
        Path(path).write_bytes(Path(path).read_bytes() + bytes(8))
    verify.check_inputs(command(EXTRACT))
    with pytest.raises(UserError, match="is longer than its header says"):
        verify.check_inputs(command(ALIGN))


def test_a_map_that_is_no_cube_is_refused(project: Path) -> None:
    mrcfile.write("average/merged.mrc", np.ones((12, 24, 24), np.float32), voxel_size=20, overwrite=True)
    with pytest.raises(UserError, match="is 24 x 24 x 12 px, but a map is a cube"):
        verify.check_inputs(command(ALIGN))


def test_50_000_particles_of_500_tomograms_are_looked_at_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    large_project(tomograms=500, particles=100)
    lines = {
        "refine": "relion_refine --ios set.star --K 3 --o run",
        "average": "relion_tomo_reconstruct_particle --i set.star --b 24 --bin 4 --o average/",
    }
    for name, line in lines.items():
        start = time.process_time()
        verify.check_inputs(command(line))
        spent = time.process_time() - start
        record_property(f"verify: what goes into {name}, 500 tomograms x 50,000 particles", f"{spent:.1f} s")
        assert spent < 5


def large_project(tomograms: int, particles: int) -> None:
    """As many tomograms and particles as that, with links to one tilt series and one stack."""
    series = (GOLDEN / "input/tilt_series/TS_01.star").read_text()
    stack = GOLDEN / "extract/Subtomograms/TS_01/4_stack2d.mrcs"
    head, _, row = (GOLDEN / "input/tomograms.star").read_text().partition("TS_01")
    row = "TS_01" + row.splitlines()[0]
    names = [f"TS_{number:03d}" for number in range(tomograms)]
    Path("input/tilt_series").mkdir(parents=True)
    shutil.copy(GOLDEN / "input/tilt_series/TS_01.mrcs", "images.mrcs")
    for name in names:
        text = series.replace("data_TS_01", f"data_{name}").replace(
            "input/tilt_series/TS_01.mrcs", "images.mrcs"
        )
        Path(f"input/tilt_series/{name}.star").write_text(text)
    Path("tomograms.star").write_text(head + "\n".join(row.replace("TS_01", name) for name in names) + "\n")
    lines = (GOLDEN / "extract/particles.star").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("TS_01"))
    words = next(line for line in lines if "TS_01/4_stack2d" in line).split()
    rows = []
    for name in names:
        Path(name).mkdir()
        shutil.copy(stack, f"{name}/0.mrcs")
        for number in range(particles):
            if number:
                os.link(f"{name}/0.mrcs", f"{name}/{number}.mrcs")
            words[0], words[8], words[10] = name, f"{name}/{number}", f"{name}/{number}.mrcs"
            rows.append(" ".join(words))
    Path("particles.star").write_text("\n".join([*lines[:first], *rows]) + "\n")
    OptimisationSet("particles.star", "tomograms.star").write("set.star")
