"""RELION is found, or what was found instead is said, with three ways to go on."""

import subprocess
import sys
from pathlib import Path

import pytest

from stacycle import software
from stacycle.errors import UserError

EMBEDDED = {"kind": "embedded", "bin": None}
RELION = {"kind": "relion", "bin": None}
THREE_WAYS = "module load relion.*engine.bin.*engine.kind to embedded"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put programs that answer --version into a folder with a blank in its name, the only one on the PATH."""
    folder = tmp_path / "my software"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(*programs, says="RELION version: 5.0.1-commit-73f0a3 \nPrecision: BASE=double"):
        for program in programs:
            (folder / program).write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{says}'\n")
            (folder / program).chmod(0o755)
        return folder

    return install


def test_relion_5_is_told_by_its_version(install):
    install(*software.PROGRAMS)
    assert software.check(RELION) == "RELION 5.0.1-commit-73f0a3"


def test_programs_come_from_engine_bin_before_the_path(install, tmp_path, monkeypatch):
    folder = install(*software.PROGRAMS)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert software.check({"kind": "relion", "bin": str(folder)}).startswith("RELION 5")
    argv = software.resolve({"kind": "relion", "bin": str(folder)}, ["relion_postprocess", "--i", "a"])
    assert argv == [f"{folder}/relion_postprocess", "--i", "a"]


def test_a_machine_without_relion_gets_three_ways_out(install):
    for problem in (lambda: software.check(RELION), lambda: software.resolve(RELION, ["relion_refine"])):
        with pytest.raises(UserError, match=f"not found on the PATH.*{THREE_WAYS}"):
            problem()


def test_a_wrong_engine_bin_is_named(install, tmp_path):
    install(*software.PROGRAMS)
    with pytest.raises(UserError, match=r"not found in engine.bin, .*nowhere"):
        software.check({"kind": "relion", "bin": str(tmp_path / "nowhere")})


def test_debians_relion_3_is_told_from_relion_5(install):
    folder = install("relion_refine", "relion_refine_mpi", says="RELION version: 3.1.3 ")
    with pytest.raises(UserError, match=rf"RELION 3.1.3 was found \({folder}/relion_refine\).*{THREE_WAYS}"):
        software.check(RELION)


def test_relion_4_has_all_programs_and_is_still_too_old(install):
    install(*software.PROGRAMS, says="RELION version: 4.0.1-commit-ex8f68a")
    with pytest.raises(UserError, match=r"RELION 4.0.1.* was found.*but RELION 5 is needed"):
        software.check(RELION)


def test_a_build_without_the_tomo_programs_is_told_by_what_it_lacks(install):
    install("relion_refine", "relion_refine_mpi", "relion_mask_create", "relion_postprocess")
    lacks = (
        "relion_tomo_subtomo, relion_tomo_reconstruct_particle, relion_tomo_refine_ctf, relion_tomo_align;"
    )
    with pytest.raises(UserError, match=f"on the PATH not its {lacks}"):
        software.check(RELION)


def test_a_program_that_does_not_run_is_quoted(install):
    install(*software.PROGRAMS, says="error while loading shared libraries: libfftw3.so.3")
    with pytest.raises(UserError, match=r"relion_refine --version .*libfftw3.so.3"):
        software.check(RELION)


def test_the_mpi_launcher_stays_before_relion_and_goes_before_the_embedded_engine(install):
    folder = install(*software.PROGRAMS)
    argv = ["srun", "--mpi=pmix", "-n", "3", "relion_refine_mpi", "--o", "results/relion_like/run"]
    assert software.resolve(RELION, argv) == [*argv[:4], f"{folder}/relion_refine_mpi", *argv[5:]]
    assert software.resolve(EMBEDDED, argv) == [sys.executable, "-m", "staengine", *argv[4:]]


def test_the_embedded_engine_needs_no_relion_and_runs_its_programs(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert software.check(EMBEDDED).startswith("embedded engine ")
    for program in software.PROGRAMS:
        argv = software.resolve(EMBEDDED, [program, "--version"])
        assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("folder", ["-x", "a; touch x", 'it\'s "mine"', "$(touch x)"])
def test_a_folder_of_any_name_is_neither_run_nor_taken_for_an_option(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    for program in software.PROGRAMS:
        (Path(folder) / program).write_text("#!/bin/sh\necho 'RELION version: 5.0.1'\n")
        (Path(folder) / program).chmod(0o755)
    engine = {"kind": "relion", "bin": folder}
    assert software.check(engine) == "RELION 5.0.1"
    argv = software.resolve(engine, ["mpirun", "-n", "3", "relion_refine_mpi", "--version"])
    assert argv[3] == str(tmp_path / folder / "relion_refine_mpi")
    assert not (tmp_path / "x").exists()
