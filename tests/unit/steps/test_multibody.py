"""A multi-body refinement goes on from the last iteration with half maps, by the GUI's command but for its offsets."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mrcfile
import numpy as np
import pytest

from stacycle.errors import UserError
from stacycle.files import bodies, star
from stacycle.jobs import fingerprint
from stacycle.programs import flex_analyse, mpi, verify
from stacycle.programs.command import Command
from stacycle.steps import multibody

GOLDEN = Path(__file__).parents[2] / "golden/data/multibody"
BODY = {"relative_to": None, "angles": 10, "offset": 2}
SETTINGS = {
    "bodies": {"small": {"mask": "mask_small", **BODY}, "large": {"mask": "mask_large", **BODY}},
    **{"sampling": 1.8, "offset_range": 3, "offset_step": 0.75, "offsets_twice": True},
    **{"subtract": True, "components": 3},
}
ENGINE = {"kind": "relion", "pool": 3, "scratch": None}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RELION's own refinement, and its multi-body refinement, which drifts."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "refs", "refs")
    shutil.copytree(GOLDEN / "mb", "mb")
    return tmp_path


class Outputs(list):
    """Outputs of a job, by number and by name."""


def job(**settings: Any) -> Any:
    output = Outputs(["results/bin4/multibody/run_data.star"])
    given = SimpleNamespace(consensus="refs/run_data.star", masks=["mb/body1.mrc", "mb/body2.mrc"])
    params = SimpleNamespace(settings=SETTINGS | settings, key="rounds.bin4.multibody")
    return SimpleNamespace(
        input=given, output=output, params=params, threads=3, resources={"gpu": 0, "ranks": 3}
    )


def test_the_command_is_the_guis_with_offsets_divided_by_the_pixel_size() -> None:
    gui = (
        "relion_refine_mpi --continue refs/run_it003_optimiser.star --o results/bin4/multibody/run "
        "--solvent_correct_fsc --multibody_masks results/bin4/multibody_bodies/bodies.star --oversampling 1 "
        "--healpix_order 4 --auto_local_healpix_order 4 --offset_range 0.15 --offset_step 0.075 "
        "--reconstruct_subtracted_bodies --dont_combine_weights_via_disc --pool 3 --pad 2 --j 1"
    )
    assert multibody.command(job(), ENGINE) == ["mpirun", "-n", "3", *shlex.split(gui)]
    plain = multibody.command(job(offsets_twice=False, subtract=False), ENGINE)
    assert plain[plain.index("--offset_range") :][:4] == ["--offset_range", "3", "--offset_step", "1.5"]
    assert "--reconstruct_subtracted_bodies" not in plain


def test_it_goes_on_from_the_last_iteration_that_has_all_its_half_maps() -> None:
    for path in Path("refs").glob("run_it003_*"):
        shutil.copy(path, str(path).replace("it003", "it004"))
    assert "refs/run_it004_optimiser.star" in multibody.command(job(), ENGINE)
    Path("refs/run_it004_half2_class001.mrc").unlink()
    assert "refs/run_it003_optimiser.star" in multibody.command(job(), ENGINE)
    Path("refs/run_it003_half1_class001.mrc").unlink()
    with pytest.raises(
        UserError, match="refs: no iteration is there with all its tables and half maps; run it again"
    ):
        multibody.command(job(), ENGINE)


def test_bodies_are_written_beside_the_job_the_larger_mask_first() -> None:
    sizes = {path: float(mrcfile.read(path).sum(dtype=float)) for path in ("mb/body1.mrc", "mb/body2.mrc")}
    assert sizes["mb/body1.mrc"] > sizes["mb/body2.mrc"]
    multibody.prepare(job())
    assert bodies.names(multibody.bodies_file(job())) == ["small", "large"]  # small has body1
    assert bodies.masks(multibody.bodies_file(job())) == list(sizes)
    shifts = star.column(multibody.bodies_file(job()), "rlnBodySigmaOffsetAngst")
    assert shifts == ["40", "40"], "2 px of 20 Å"


def ready() -> Command:
    multibody.prepare(job())
    return Command.of(multibody.command(job(), ENGINE))


def test_relions_own_refinement_and_masks_are_accepted_and_too_few_ranks_are_not() -> None:
    verify.check_inputs(ready())
    with pytest.raises(UserError, match="multibody needs at least 3 MPI ranks but was given 2"):
        mpi.with_mpi(ready().argv[3:], 2)


def test_a_mask_of_another_box_is_refused_before_it_starts() -> None:
    command = ready()
    with mrcfile.new("mb/body2.mrc", overwrite=True) as file:
        file.set_data(np.zeros((16, 16, 16), np.float32))
        file.voxel_size = 20
    with pytest.raises(
        UserError, match=r"mb/body2.mrc: 16 px of 20 Å, but refs/run_it003_half1_class001.mrc has 24"
    ):
        verify.check_inputs(command)


def test_a_mask_that_leaves_0_to_1_ever_so_little_is_refused_as_relion_does_after_it_has_started() -> None:
    command, density = ready(), mrcfile.read("mb/body2.mrc").astype(np.float32)
    density[0, 0, 0] = -1e-6
    with mrcfile.new("mb/body2.mrc", overwrite=True) as file:
        file.set_data(density)
        file.voxel_size = 20
    with pytest.raises(
        UserError, match=r"mb/body2.mrc: its values run from -1e-06 to 1, and RELION takes none"
    ):
        verify.check_inputs(command)


@pytest.mark.parametrize(
    "changed", ["mb/body2.mrc", "refs/run_it003_half2_class001.mrc", "refs/run_it003_data.star"]
)
def test_another_mask_or_refinement_makes_another_result_though_the_names_stay(changed: str) -> None:
    command, folder = ready(), "results/bin4/multibody"
    before = fingerprint.take(command, folder, "relion", fingerprint.Digests())
    whole = Path(changed).read_bytes()
    Path(changed).write_bytes(whole.replace(b"1.000000", b"0.900000")[:-6] + b"\x01\x02" + whole[-4:])
    after = fingerprint.take(command, folder, "relion", fingerprint.Digests())
    assert len(fingerprint.changes(before, after)) == 1


def test_what_it_lacks_is_told() -> None:
    command, folder = ready(), Path("results/bin4/multibody")
    folder.mkdir(parents=True)
    shutil.copy("mb/job4/run_it004_data.star", folder / "run_data.star")
    (folder / "run_model.star").write_text("data_\n")
    with pytest.raises(UserError, match=r"run_body001.mrc: there is no such file"):
        verify.check_outputs(command, [folder / "run_data.star"], [])
    for body in (1, 2):
        for name in (f"body00{body}.mrc", f"half1_body00{body}_unfil.mrc", f"half2_body00{body}_unfil.mrc"):
            shutil.copy("refs/run_it003_half1_class001.mrc", folder / f"run_{name}")
    verify.check_outputs(command, [folder / "run_data.star"], [])
    text = (folder / "run_data.star").read_text()
    (folder / "run_data.star").write_text(text.replace("data_images_body_2", "data_images_body_3"))
    with pytest.raises(UserError, match=r"run_data.star: has no table data_images_body_2"):
        verify.check_outputs(command, [folder / "run_data.star"], [])


def made() -> None:
    """RELION's own run in the place of the job's, with its bodies."""
    multibody.prepare(job())
    shutil.copytree("mb/job4", "results/bin4/multibody")


def test_relions_own_bodies_which_drift_are_refused() -> None:
    made()
    with pytest.raises(
        UserError, match=r"results/bin4/multibody: the body large drifts: after iteration 4 .*focus on"
    ):
        multibody.decide(job(offset_range=1.2))  # 24 Å, as RELION searched them


@pytest.mark.parametrize(("twice", "cure"), [(True, "false"), (False, "true")])
def test_offsets_that_were_not_asked_for_are_refused_with_the_key_to_set(twice: bool, cure: str) -> None:
    made()
    with pytest.raises(UserError) as raised:
        multibody.decide(job(offsets_twice=twice))
    assert str(raised.value) == (
        "rounds.bin4.multibody: offsets within 24 Å were searched, not the 60 Å of offset_range; set offsets_twice to "
        f"{cure}."
    )


def test_the_analysis_is_the_guis_and_what_components_explain_is_read_from_what_it_says() -> None:
    gui = (
        "relion_flex_analyse --PCA_orient --model results/bin4/multibody/run_model.star --data "
        "results/bin4/multibody/run_data.star --bodies results/bin4/multibody_bodies/bodies.star --o "
        "results/bin4/multibody_analyse/analyse --do_maps --k 3"
    )
    assert multibody.analysis(job()) == shlex.split(gui)
    assert multibody.explained(job()) == []
    folder = multibody.analysis_folder(job())
    folder.mkdir(parents=True)
    said = "".join(f"  + Component {n} explains {p}% of variance.\n" for n, p in enumerate([41.5, 9, 9], 1))
    (folder / "run.out").write_text(said)
    assert multibody.explained(job()) == [41.5, 9, 9]


def test_an_analysis_of_too_few_particles_or_without_all_components_is_told() -> None:
    made()
    shutil.copy("mb/job4/run_it004_data.star", "results/bin4/multibody/run_data.star")
    command = Command.of(multibody.analysis(job()))
    verify.check_inputs(command)  # 34 particles, two bodies
    assert [flex_analyse.enough(number, 2) for number in (11, 12)] == [False, True]
    folder = multibody.analysis_folder(job())
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match=r"analyse_eigenvectors\.dat: does not hold 12 eigenvectors"):
        verify.check_outputs(command, [], [])
    row = " ".join(["1.0e+00"] * 12)
    (folder / "analyse_eigenvectors.dat").write_text("\n".join(["rot-body-1", *[row] * 12]) + "\n")
    for component in (1, 2):
        shutil.copy("mb/body1.mrc", folder / f"analyse_component00{component}_bin001.mrc")
    with pytest.raises(UserError, match=r"analyse_component003_bin001\.mrc: is not there; run it again"):
        verify.check_outputs(command, [], [])
    shutil.copy("mb/body1.mrc", folder / "analyse_component003_bin001.mrc")
    verify.check_outputs(command, [], [])
