"""RELION is found, or what was found instead is said, with three ways to go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm

from stacycle.errors import UserError
from stacycle.files.cache import Cache
from stacycle.preflight import environment
from stacycle.programs import software

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


def test_relion_5_is_recognised_by_its_version(install):
    install(*software.all_names())
    assert software.check(RELION) == "RELION 5.0.1-commit-73f0a3"


def test_programs_come_from_engine_bin_before_the_path(install, tmp_path, monkeypatch):
    folder = install(*software.all_names())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert software.check({"kind": "relion", "bin": str(folder)}).startswith("RELION 5")
    argv = software.resolve({"kind": "relion", "bin": str(folder)}, ["relion_postprocess", "--i", "a"])
    assert argv == [f"{folder}/relion_postprocess", "--i", "a"]


def test_a_machine_without_relion_gets_three_ways_out(install):
    for problem in (lambda: software.check(RELION), lambda: software.resolve(RELION, ["relion_refine"])):
        with pytest.raises(UserError, match=f"not found on the PATH.*{THREE_WAYS}"):
            problem()


def test_a_wrong_engine_bin_is_named(install, tmp_path):
    install(*software.all_names())
    with pytest.raises(UserError, match=r"not found in engine.bin, .*nowhere"):
        software.check({"kind": "relion", "bin": str(tmp_path / "nowhere")})


def test_debians_relion_3_is_distinguished_from_relion_5(install):
    folder = install("relion_refine", "relion_refine_mpi", says="RELION version: 3.1.3 ")
    with pytest.raises(UserError, match=rf"RELION 3.1.3 was found \({folder}/relion_refine\).*{THREE_WAYS}"):
        software.check(RELION)


def test_relion_4_has_all_programs_and_is_still_too_old(install):
    install(*software.all_names(), says="RELION version: 4.0.1-commit-ex8f68a")
    with pytest.raises(UserError, match=r"RELION 4.0.1.* was found.*but RELION 5 is needed"):
        software.check(RELION)


def test_a_build_without_the_tomo_programs_is_recognised_by_what_it_lacks(install):
    install("relion_refine", "relion_refine_mpi", "relion_mask_create", "relion_postprocess")
    lacks = (
        "relion_tomo_align, relion_tomo_align_mpi, relion_align_symmetry, relion_flex_analyse, "
        "relion_particle_symmetry_expand, relion_postprocess_mpi, relion_tomo_reconstruct_particle, "
        "relion_tomo_reconstruct_particle_mpi, relion_tomo_refine_ctf, relion_tomo_refine_ctf_mpi, "
        "relion_tomo_subtomo, relion_tomo_subtomo_mpi;"
    )
    with pytest.raises(UserError, match=f"on the PATH not its {lacks}"):
        software.check(RELION)


def test_a_program_that_a_run_can_do_without_may_be_missing_and_is_never_asked_for_the_version(install):
    folder = install(*software.all_names())
    tomogram = folder / "relion_tomo_reconstruct_tomogram"
    tomogram.write_text("#!/bin/sh\nexit 1\n")
    version = software.check(RELION, [tomogram.name])
    assert version.startswith("RELION 5.0.1")
    tomogram.unlink()
    assert version == software.check(RELION) == software.check(RELION, [tomogram.name])


def test_a_program_that_does_not_run_is_quoted(install):
    install(*software.all_names(), says="error while loading shared libraries: libfftw3.so.3")
    with pytest.raises(UserError, match=r"relion_refine --version .*libfftw3.so.3"):
        software.check(RELION)


def test_the_mpi_launcher_stays_but_the_embedded_engine_is_its_own_mpirun(install):
    folder = install(*software.all_names(), "srun")
    argv = ["srun", "--mpi=pmix", "-n", "3", "relion_refine_mpi", "--o", "results/relion_like/run"]
    assert software.resolve(RELION, argv) == [*argv[:4], f"{folder}/relion_refine_mpi", *argv[5:]]
    engine = [sys.executable, "-m", "staengine"]
    assert software.resolve(EMBEDDED, argv) == [*argv[:4], *engine, *argv[4:]]
    assert software.resolve(EMBEDDED, ["mpirun", *argv[2:]]) == [*engine, "--ranks", "3", *argv[4:]]


def test_a_launcher_that_is_not_there_is_named(install):
    install(*software.all_names())
    with pytest.raises(
        UserError, match=r"^mpirun was not found on the PATH, but relion_refine_mpi runs with"
    ):
        software.resolve(RELION, ["mpirun", "-n", "3", "relion_refine_mpi"])


def test_the_embedded_engine_needs_no_relion_and_runs_its_programs(monkeypatch):
    warm.python()  # its start needs a PATH
    monkeypatch.setenv("PATH", "")
    assert software.check(EMBEDDED).startswith("embedded engine ")
    for program in set(software.all_names()) - {"relion_flex_analyse"}:  # it has no bodies
        python, *words = software.resolve(EMBEDDED, [program, "--version"])
        assert python == sys.executable
        assert subprocess.run([warm.python(), *words], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("folder", ["-x", "a; touch x", 'it\'s "mine"', "$(touch x)"])
def test_a_folder_of_any_name_is_neither_run_nor_taken_for_an_option(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    for program in software.all_names():
        (Path(folder) / program).write_text("#!/bin/sh\necho 'RELION version: 5.0.1'\n")
        (Path(folder) / program).chmod(0o755)
    engine = {"kind": "relion", "bin": folder}
    assert software.check(engine) == "RELION 5.0.1"
    argv = software.resolve(engine, ["env", "relion_refine_mpi", "--version"])
    assert argv[1] == str(tmp_path / folder / "relion_refine_mpi")
    assert not (tmp_path / "x").exists()


# ------------------------------------------------------------------ environment modules

EXACTLY = ["a b", "it's", '"', "$(touch x)", "`touch x`", "; touch x", "a\nb", "*", "\\", ""]


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A command `module` that bash learns from $BASH_ENV and that puts a module's folder first on the PATH.

    Returns a function that makes a module: a script for each of its programs.
    """
    folder = tmp_path / "modules"
    start(
        monkeypatch,
        tmp_path,
        f"""
        module() {{
            [ "$1" = load ] || return 1
            shift
            for name in "$@"; do
                [ -d "{folder}/$name" ] || {{ echo "ERROR: Unable to locate $name" >&2; return $FAILS; }}
                PATH="{folder}/$name:$PATH"
                export LOADED="$LOADED$name,"
            done
        }}""",
    )
    monkeypatch.setenv("FAILS", "1")

    def make(name, **programs):
        (folder / name).mkdir(parents=True)
        for program, says in programs.items():
            (folder / name / program).write_text(f"#!/bin/sh\n{says}\n")
            (folder / name / program).chmod(0o755)
        return folder / name

    return make


def start(monkeypatch, tmp_path, script):
    """Let every bash begin with a script."""
    (tmp_path / "init.sh").write_text(script)
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "init.sh"))
    monkeypatch.chdir(tmp_path)
    software._loaded.cache_clear()


def with_modules(*names, folder=None):
    return {"kind": "relion", "bin": folder and str(folder), "modules": list(names), "container": None}


SAYS = "[ $LOADED ] || exit 1; echo 'RELION version: 5.0.1'; echo ' --i : input' >&2"


def test_relions_programs_are_those_of_the_modules_and_run_with_them_loaded(modules):
    modules("gcc/12")
    folder = modules("relion/5.0.1", relion_refine='echo "$LOADED" "$@"')
    engine = with_modules("gcc/12", "relion/5.0.1")
    assert software.files(engine, ["relion_refine", "relion_postprocess"]) == [f"{folder}/relion_refine"]
    argv = software.resolve(engine, ["relion_refine", "--i", "a b"])
    run = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert run.stdout == "gcc/12,relion/5.0.1, --i a b\n"


def test_one_module_needs_no_list_and_is_asked_for_version_and_flags(modules):
    modules("relion", **dict.fromkeys(software.all_names(), SAYS))
    engine = with_modules() | {"modules": "relion"}
    assert software.check(engine) == "RELION 5.0.1"
    assert set(map(tuple, software.known_flags(engine, software.all_names()).values())) == {("--i",)}


def test_engine_bin_is_looked_in_with_the_modules_loaded(modules, tmp_path):
    modules("cuda/12", relion_refine="echo wrong")
    mine = modules("mine", relion_refine='echo "$LOADED"')
    argv = software.resolve(with_modules("cuda/12", folder=mine), ["relion_refine"])
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "cuda/12,\n"


def test_the_program_takes_the_place_of_bash_so_that_signals_and_exit_status_are_its_own(modules):
    modules("relion", relion_refine="echo $$; exit 3", relion_postprocess="echo; exec sleep 60")
    engine = with_modules("relion")
    with subprocess.Popen(software.resolve(engine, ["relion_refine"]), stdout=subprocess.PIPE) as process:
        assert int(process.stdout.read()) == process.pid
    assert process.returncode == 3
    argv = software.resolve(engine, ["relion_postprocess"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
    assert process.returncode == -signal.SIGTERM


def test_no_argument_is_read_by_a_shell(modules, tmp_path):
    modules("relion", relion_refine='for word do printf "%s\\f" "$word"; done')
    argv = software.resolve(with_modules("relion"), ["relion_refine", *EXACTLY])
    run = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert run.stdout.split("\f")[:-1] == EXACTLY
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", [name for name in EXACTLY if name])
def test_a_modules_name_is_not_read_by_a_shell_either(modules, name, tmp_path):
    with pytest.raises(UserError, match=r"^engine\.modules: ") as error:
        software.check(with_modules(name))
    assert f"(ERROR: Unable to locate {' '.join(name.split())});" in " ".join(str(error.value).split())
    assert not (tmp_path / "x").exists()


def test_a_module_that_is_not_there_is_reported_in_the_words_of_module(modules):
    for ask in (software.check, lambda engine: software.resolve(engine, ["relion_refine"])):
        with pytest.raises(UserError, match=r"^engine\.modules: relion/9 cannot be loaded \(ERROR: Unable"):
            ask(with_modules("relion/9"))


def test_a_module_command_that_fails_without_telling_is_seen_through(modules, monkeypatch):
    """Environment Modules 3.2 ends with exit status 0."""
    monkeypatch.setenv("FAILS", "0")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    unknown = (
        r"not found on the PATH with engine.modules, relion/9 \(ERROR: Unable to locate relion/9\); load"
    )
    with pytest.raises(UserError, match=f"RELION was {unknown}"):
        software.check(with_modules("relion/9"))
    with pytest.raises(UserError, match=f"relion_refine was {unknown}"):
        software.resolve(with_modules("relion/9"), ["relion_refine"])


def test_a_machine_without_modules_says_so(monkeypatch, tmp_path):
    start(monkeypatch, tmp_path, "type() { return 1; }")  # for /etc/profile may know one
    with pytest.raises(UserError, match=r"cannot be loaded \(there is no command module on .*\); see what"):
        software.check(with_modules("relion"))


def test_a_shell_without_modules_reads_etc_profile_but_keeps_its_path(modules, monkeypatch, tmp_path):
    modules("relion", relion_refine="mine")
    mine = modules("not/loaded", mine='echo "$LOADED"')
    monkeypatch.setenv("PATH", f"{mine}:/usr/bin:/bin")
    os.rename(tmp_path / "init.sh", tmp_path / "modules.sh")
    profile = f"function . {{ [ $1 = /etc/profile ] && source {tmp_path}/modules.sh; PATH=/nowhere; }}"
    start(monkeypatch, tmp_path, f"unset -f module; {profile}")
    argv = software.resolve(with_modules("relion"), ["relion_refine"])
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "relion,\n"


def test_the_mpi_launcher_is_that_of_the_modules(modules, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    folder = modules("relion", relion_refine_mpi="echo $1", my_mpirun='shift 2; exec "$@"')
    command = ["my_mpirun", "-n", "3", "relion_refine_mpi", "--version"]
    argv = software.resolve(with_modules("relion"), command)
    assert argv[-5:] == ["my_mpirun", "-n", "3", f"{folder}/relion_refine_mpi", "--version"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "--version\n"
    (folder / "my_mpirun").unlink()
    with pytest.raises(
        UserError, match=r"my_mpirun was not found on the PATH with engine.modules, relion, but"
    ):
        software.resolve(with_modules("relion"), command)


# ------------------------------------------------------------------ container


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A stand-in for Apptainer, which takes a folder of programs for an image and notes how it was called."""
    bin, image = tmp_path / "bin", tmp_path / "relion.sif"
    bin.mkdir()
    image.mkdir()
    (bin / "apptainer").write_text(
        f"""#!/bin/bash
printf "%s\\n" "$@" > {tmp_path}/called
[ "$1" = exec ] || exit 1
while [ "$1" != {image} ]; do shift; done
[ -e {tmp_path}/broken ] && {{ echo "FATAL: no loop devices" >&2; exit 255; }}
LOADED=image PATH={image}:/usr/bin:/bin exec "${{@:2}}"
"""
    )
    (bin / "apptainer").chmod(0o755)
    for program in software.all_names():
        (image / program).write_text(f"#!/bin/sh\n{SAYS}\n")
        (image / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:/usr/bin:/bin")
    monkeypatch.delenv("TMPDIR", raising=False)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return image


def in_image(image, *args, **more):
    return {"kind": "relion", "bin": None, "container": str(image), "container_args": list(args), **more}


def test_programs_are_looked_for_and_asked_inside_the_image(image):
    engine = in_image(image)
    assert software.check(engine) == "RELION 5.0.1"
    assert set(map(tuple, software.known_flags(engine, software.all_names()).values())) == {("--i",)}
    assert software.files(engine, software.all_names()) == [str(image)]
    assert f"--bind={image.parent}/project" in (image.parent / "called").read_text().splitlines()
    (image / "relion_postprocess").unlink()
    with pytest.raises(
        UserError, match=f"on the PATH of engine.container, {image} not its relion_postprocess;"
    ):
        software.check(engine)


def test_a_folder_of_the_image_is_named_by_engine_bin(image):
    (image / "relion_refine").rename(image.parent / "bin/relion_refine")
    engine = in_image(image, bin=f"{image.parent}/bin")
    assert software.check(engine, ["relion_refine"]) == "RELION 5.0.1"
    assert software.resolve(engine, ["relion_refine"])[-1] == f"{image.parent}/bin/relion_refine"
    with pytest.raises(UserError, match=f"not found in engine.bin, /no of engine.container, {image}; load"):
        software.check(in_image(image, bin="/no"))


def test_what_a_build_computes_on_is_asked_inside_the_image(image):
    (image / "relion_refine").write_text("#!/bin/sh\necho 'RELION version: 5.0.1, CUDA-ACC=single'\n")
    assert software.accelerator(in_image(image)) == "CUDA"


def test_an_image_that_does_not_start_is_reported_in_apptainers_words(image):
    (image.parent / "broken").touch()
    with pytest.raises(
        UserError, match=r"engine\.container: .*sif does not start \(FATAL: no loop devices\)"
    ):
        software.check(in_image(image))


def test_a_program_runs_in_the_project_folder_inside_the_image(image):
    (image / "relion_refine").write_text('#!/bin/sh\npwd; printf "%s\\f" "$@"; exit 3\n')
    argv = software.resolve(in_image(image, "--bind", "/data"), ["relion_refine", *EXACTLY])
    project = f"{image.parent}/project"
    start = ["exec", f"--bind={project}", f"--pwd={project}", "--bind", "/data", str(image), "relion_refine"]
    assert argv == [f"{image.parent}/bin/apptainer", *start, *EXACTLY]
    run = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=project)
    assert (run.returncode, run.stdout.split("\f")[:-1]) == (3, [f"{project}\n{EXACTLY[0]}", *EXACTLY[1:]])
    assert not list(image.parent.rglob("x"))


def test_gpus_are_shown_to_a_program_that_uses_them(image):
    assert "--nv" not in software.resolve(in_image(image), ["relion_refine"])
    assert software.resolve(in_image(image), ["relion_refine", "--gpu", "0"])[2] == "--nv"


def test_mpirun_runs_inside_and_any_other_launcher_outside(image):
    apptainer = f"{image.parent}/bin/apptainer"
    for launcher in ("mpirun -n 3", "/usr/bin/mpiexec --oversubscribe -n 3", "env A=b mpirun -n 3"):
        words = launcher.split()
        argv = software.resolve(in_image(image), [*words, "relion_refine_mpi", "--version"])
        assert argv[0] == apptainer
        assert argv[-len(words) - 3 :] == [str(image), *words, "relion_refine_mpi", "--version"]
    (image.parent / "bin/srun").symlink_to(apptainer)
    argv = software.resolve(in_image(image), ["srun", "--mpi=pmix", "-n", "3", "relion_refine_mpi"])
    assert argv[:6] == ["srun", "--mpi=pmix", "-n", "3", apptainer, "exec"]
    assert argv[-2:] == [str(image), "relion_refine_mpi"]
    with pytest.raises(
        UserError, match=r"aprun was not found on the PATH, but relion_refine_mpi runs with it"
    ):
        software.resolve(in_image(image), ["aprun", "relion_refine_mpi"])


def test_singularity_will_do(image):
    (image.parent / "bin/apptainer").rename(image.parent / "bin/singularity")
    assert software.check(in_image(image)) == "RELION 5.0.1"


def test_what_is_missing_is_named_apptainer_or_the_image(image):
    with pytest.raises(UserError, match=r"^engine.container: there is no .*/other.sif; correct the path"):
        software.check(in_image("other.sif"))
    (image.parent / "bin/apptainer").unlink()
    for ask in (software.check, lambda engine: software.resolve(engine, ["relion_refine"])):
        with pytest.raises(UserError, match=r"^apptainer was not found on the PATH, but engine.container"):
            ask(in_image(image))


def test_a_relative_path_of_an_image_starts_at_the_project(image):
    image.rename("relion.sif")
    argv = software.resolve(in_image("relion.sif"), ["relion_refine"])
    assert argv[-2:] == [f"{image.parent}/project/relion.sif", "relion_refine"]


# ------------------------------------------------------------------ what preflight asks


def rows(engine, remembered):
    return list(environment.check_software(engine, {"relion_refine": {"--i"}}, Cache(remembered)))


def test_preflight_asks_an_image_again_only_when_it_was_exchanged(image, tmp_path):
    engine, memory = in_image(image), tmp_path / "memory.json"
    assert [row.level for row in rows(engine, memory)] == [environment.FINE] * 2
    (tmp_path / "called").unlink()
    assert rows(engine, memory)[0].found == "RELION 5.0.1: relion_refine"
    assert not (tmp_path / "called").exists()
    (image / "new").touch()
    for asked in (engine, engine | {"container_args": ["--cleanenv"]}):
        (tmp_path / "called").unlink(missing_ok=True)
        assert rows(asked, memory)[0].found == "RELION 5.0.1: relion_refine"
        assert (tmp_path / "called").exists()


def test_preflight_tells_of_a_module_that_is_not_there_and_what_to_do(modules, tmp_path):
    (row,) = rows(with_modules("relion/9"), tmp_path / "memory.json")
    assert (row.level, row.checked) == (environment.PROBLEM, "software")
    assert row.found.startswith("engine.modules: relion/9 cannot be loaded")
    assert row.todo == "see what `module avail` lists"
