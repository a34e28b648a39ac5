"""What a program in a container must see of the machine is bound to it, and nothing that would hide the image's own."""

import os
from pathlib import Path

import pytest
from input_sets import change, write_set

from stacycle.errors import UserError
from stacycle.programs import container


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project folder; `Path` as given starts there. No folder of the machine is a file system of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == "/")
    return folder


def bound(*argv):
    """The folders that are bound for a command line, in full."""
    engine = {"container": "/"}
    command = container.command(engine, ["program"], folders=container.folders_of(argv))
    return [word.removeprefix("--bind=") for word in command if word.startswith("--bind=")]


@pytest.fixture(autouse=True)
def apptainer(tmp_path, monkeypatch):
    (tmp_path / "apptainer").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def elsewhere(tmp_path):
    """A folder outside of the project."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_a_project_that_holds_all_its_data_needs_no_other_folder(project):
    write_set("a")
    argv = ["relion_tomo_subtomo", "--t", "a/tomograms.star", "--p", "a/particles.star", "--o", "results/x/"]
    assert bound(*argv, "--b", "64") == [str(project)]


def test_scratch_and_temporary_folder_are_bound(project, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert bound("relion_refine", "--scratch_dir", str(elsewhere)) == [str(tmp_path)], "one is in the other"
    monkeypatch.delenv("TMPDIR")
    assert bound("relion_refine", "--scratch_dir", str(elsewhere)) == [str(elsewhere), str(project)]


def test_the_folder_that_a_file_will_be_written_to_is_bound_before_it_is_there(project, elsewhere):
    Path("results").symlink_to(elsewhere)
    assert bound("relion_refine", "--o", "results/bin4/align/T1/run") == [str(elsewhere), str(project)]


def test_links_are_followed_over_every_place_that_they_name(project, elsewhere):
    for name in ("data", "archive", "disk"):
        (elsewhere / name).mkdir()
    (elsewhere / "disk/map.mrc").touch()
    (elsewhere / "archive/map.mrc").symlink_to("../disk/map.mrc")
    (elsewhere / "data/maps").symlink_to(elsewhere / "archive")
    Path("mine").symlink_to(
        "../elsewhere/data"
    )  # where `maps` must still be a link, or ../disk would be data/disk
    needed = [f"{elsewhere}/{name}" for name in ("archive", "data", "disk")]
    assert bound("relion_refine", "--ref", "mine/maps/map.mrc") == [*needed, str(project)]


@pytest.mark.parametrize("linked", ["relative link", "full link", "full link of a format", ""])
def test_images_that_only_the_tilt_series_name_are_bound(project, elsewhere, linked):
    write_set("a", names=["TS_01"])
    images = next(Path("a").glob("TS_01*.mrc*"))
    images.rename(elsewhere / images.name)
    if linked:
        target = elsewhere / images.name
        images.symlink_to(target if linked.startswith("full") else os.path.relpath(target, images.parent))
        if linked.endswith("format"):
            change("a/TS_01.star", lambda table: table.assign(rlnMicrographName=f"1@{images}:mrcs"))
    else:
        full = f"1@{elsewhere}/{images.name}"
        change("a/TS_01.star", lambda table: table.assign(rlnMicrographName=full))
    argv = ["relion_tomo_subtomo", "--t", "a/tomograms.star", "--p", "a/particles.star"]
    assert bound(*argv) == [str(elsewhere), str(project)]


def test_a_link_in_a_circle_or_to_nothing_binds_nothing(project):
    Path("circle").symlink_to("circle")
    Path("lost").symlink_to("/no/such/folder")
    assert bound("relion_refine", "--i", "circle/a.star", "--ref", "lost", "--mask", "/no/such") == [
        str(project)
    ]


def test_a_file_system_of_its_own_is_bound_once_for_all_tilt_series(project, elsewhere, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path in ("/", str(elsewhere)))
    for number in range(3):
        (elsewhere / str(number)).mkdir()
        Path(str(number)).symlink_to(elsewhere / str(number))
    assert bound("relion_refine", "--i", "0/a", "--ref", "1/a", "--mask", "2/a") == [
        str(elsewhere),
        str(project),
    ]


def test_a_file_system_is_not_bound_over_the_programs_of_the_image(project, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path in ("/", "/usr"))
    assert bound("relion_refine", "--i", "/usr/share/a.star") == [str(project), "/usr/share"]


def test_a_link_beside_the_programs_of_the_image_is_bound_without_its_folder(project, elsewhere, monkeypatch):
    monkeypatch.setattr(container, "_OF_THE_IMAGE", {elsewhere.parts[1]})
    (elsewhere / "disk").mkdir()
    (elsewhere / "data").symlink_to("disk")
    needed = [f"{elsewhere}/data", f"{elsewhere}/disk"]
    assert bound("relion_refine", "--ref", f"{elsewhere}/data/map.mrc") == [*needed, str(project)]


@pytest.mark.parametrize("name", ["a,b", "a:b", "a\\b", "a ", "a\n"])
def test_a_folder_whose_name_would_be_taken_apart_is_refused(elsewhere, name):
    (elsewhere / name).mkdir()
    with pytest.raises(UserError, match=r"engine.container: .* cannot be bound .*; rename the folder"):
        bound("relion_refine", "--scratch_dir", str(elsewhere / name))


@pytest.mark.parametrize("name", ["a b", "it's", '"', "$(touch x)", "-a", "ä"])
def test_a_project_of_any_other_name_is_bound_as_it_is(elsewhere, name, monkeypatch):
    (elsewhere / name).mkdir()
    monkeypatch.chdir(elsewhere / name)
    assert bound("relion_refine") == [str(elsewhere / name)]
