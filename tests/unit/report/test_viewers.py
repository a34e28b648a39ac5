"""view.cxc: ChimeraX's commands name files that are there, from the view's folder, at levels that show something."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_project import make

from stacycle.decisions.decision import Decision, write_decision
from stacycle.files import mrc
from stacycle.report.viewers import level_of, view_file

# Words that a line of a view may begin with.
COMMANDS = {"#", "set", "open", "volume", "color", "key", "tile", "lighting", "view"}


@pytest.fixture(scope="module")
def bin4(tmp_path_factory) -> Path:
    """The round bin4 of a finished project, in a folder whose name has a blank."""
    results = make(tmp_path_factory.mktemp("my project")) / "results"
    star = results / "bin4/postprocess/postprocess.star"
    names = {"postprocess/postprocess.mrc": "postprocess/postprocess.mrc", "mask/mask.mrc": "mask/mask.mrc"}
    text = star.read_text()
    for name, now in names.items():
        text = re.sub(rf"(\s)\S*{name}", rf"\1results/bin4/{now}", text)
    star.write_text(text)
    mask = "relion_mask_create --i results/bin4/class3d/T0.5_K3/run_it010_class003.mrc --o results/bin4/mask/mask.mrc"
    (results / "bin4/mask/job.json").write_text(json.dumps({"command": mask}))
    classes = [
        "class\tmap",
        *(f"{n}\tresults/bin4/class3d/T0.5_K3/run_it010_class00{n}.mrc" for n in (1, 2, 3)),
    ]
    (results / "bin4/class3d/classes.tsv").write_text("\n".join(classes) + "\n")
    return results / "bin4"


def shown(folder: Path) -> tuple[str, list[Path]]:
    """The text of a folder's view, which is checked, and the files that it opens."""
    path = view_file(folder)
    assert path == folder / "view.cxc"
    text = path.read_text()
    assert {line.split()[0] for line in text.splitlines()} <= COMMANDS
    opened = [folder / name for name in re.findall(r'^open "(.+)" id \d+$', text, re.MULTILINE)]
    assert opened
    assert all(one.is_file() for one in opened)
    assert len(re.findall(r"^open", text, re.MULTILINE)) == len(opened)
    for number, level in re.findall(r"^volume #(\d+) .*style surface step 1 level (\S+)", text, re.MULTILINE):
        voxels = mrc.voxels(opened[int(number) - 1])
        assert 0.0005 < (voxels > float(level)).mean() < 0.5  # a surface, and not a full box
        assert f"voxelSize {mrc.header(opened[int(number) - 1]).pixel:.6g}" in text
    return text, opened


def test_a_postprocessed_map_is_shown_with_its_mask_clear(bin4: Path):
    text, opened = shown(bin4 / "postprocess")
    assert [one.name for one in opened[:2]] == ["postprocess.mrc", "mask.mrc"]
    assert re.search(r"^volume #2 .*level 0.5 .*transparency 0.8$", text, re.MULTILINE)
    assert "../mask/mask.mrc" in text  # paths are from the view's folder


def test_a_mask_is_shown_over_the_map_that_it_was_made_of(bin4: Path):
    _, opened = shown(bin4 / "mask")
    assert [one.name for one in opened] == ["run_it010_class003.mrc", "mask.mrc"]


def test_classes_are_tiled_at_one_level_and_rejected_ones_are_grey(bin4: Path):
    text, opened = shown(bin4 / "class3d")
    assert len(opened) == 3
    assert "\ntile\n" in text
    levels = {float(level) for level in re.findall(r"level (\S+)", text)}
    assert list(levels) == [pytest.approx(max(map(level_of, opened)), rel=1e-4)]
    select = bin4.parent / "other/select"
    select.mkdir(parents=True)
    shutil.copy(opened[0], select / "reference.mrc")
    write_decision(
        select / "decision.json", Decision("Classes", {"classes": [1, 3]}, "rule", "Class 2 is junk.")
    )
    digest = ["x", "0"]
    state = dict.fromkeys(("particles", "tomograms", "trajectories"), digest)
    parent = {"id": "1", "path": "results/bin4/class3d"}
    (select / "state.json").write_text(json.dumps({"id": "2", "parent": parent, "maps": {}, **state}))
    text, _ = shown(select)
    colours = re.findall(r"^volume #\d .* color (\S+)$", text, re.MULTILINE)
    assert colours[1] == "#b7b7b7"
    assert "#b7b7b7" not in (colours[0], colours[2])


def test_a_run_without_a_choice_shows_its_last_iteration(bin4: Path):
    _, opened = shown(bin4 / "class3d/T0.5_K3")
    assert {one.name[:9] for one in opened} == {
        max(p.name[:9] for p in (bin4 / "class3d/T0.5_K3").glob("run_it*_class*"))
    }


def test_a_refinement_is_shown_with_its_half_maps_hidden(bin4: Path, tmp_path: Path):
    folder = tmp_path / "results/bin4/refine3d"
    folder.mkdir(parents=True)
    for name in ("run_class001", "run_half1_class001_unfil", "run_half2_class001_unfil"):
        shutil.copy(bin4 / "class3d/T0.5_K3/run_it010_class003.mrc", folder / f"{name}.mrc")
    text, opened = shown(folder)
    assert len(opened) == 3
    assert re.findall(r"^volume #(\d) hide$", text, re.MULTILINE) == ["2", "3"]


def test_a_map_is_coloured_by_its_local_resolution(bin4: Path, tmp_path: Path):
    shutil.copy(bin4 / "class3d/T0.5_K3/run_it010_class003.mrc", tmp_path / "relion_locres_filtered.mrc")
    shutil.copy(tmp_path / "relion_locres_filtered.mrc", tmp_path / "relion_locres.mrc")
    choice = {"median": 20.0, "finest": 15.0, "coarsest": 40.0}
    write_decision(tmp_path / "decision.json", Decision("Local resolution", choice, "rule", "Measured."))
    text = view_file(tmp_path).read_text()
    assert re.search(r"^color sample #1 map #2 palette 15,#\w+:.*:40,#\w+$", text, re.MULTILINE)
    assert 'open "relion_locres.mrc" id 2\nvolume #2 hide' in text


def test_a_folder_without_a_map_or_with_a_damaged_one_has_no_view(bin4: Path, tmp_path: Path):
    assert view_file(bin4 / "extract") is None
    assert view_file(tmp_path / "nowhere") is None
    (tmp_path / "merged.mrc").write_bytes(b"no map")
    assert view_file(tmp_path) is None
    assert not (tmp_path / "view.cxc").exists()


def test_the_level_of_a_map_without_a_mask_is_above_its_noise(tmp_path: Path):
    rng = np.random.default_rng(1)
    voxels = rng.normal(0, 1, (48, 48, 48))
    voxels[20:28, 20:28, 20:28] += 20
    mrc.write_map(tmp_path / "map.mrc", voxels, 4.0)
    assert 2.5 < level_of(tmp_path / "map.mrc") < 20
