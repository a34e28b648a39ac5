"""The embedded engine's command lines: RELION's flags, nothing ignored, one sentence for a mistake."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from staengine import __main__ as engine
from staengine import cli
from staengine.cli import Flag, no_effect, parse, unsupported
from staengine.errors import AbortError, EngineError
from staengine.programs import align_symmetry, reconstruct_particle, reconstruct_tomogram, subtomo

CLI = json.loads((Path(__file__).parents[2] / "golden" / "cli.json").read_text())
FLAGS = {
    "--i": Flag("required", str),
    "--angpix": Flag("value", -1.0),
    "--crop": Flag("value", -1),
    "--o": Flag("value", "out"),
    "--continue": Flag("value", ""),
    "--flatten_solvent": Flag("switch"),
    "--gpu": Flag("optional_value", ""),
    **no_effect(pool=1, dont_combine_weights_via_disc=False),
    **unsupported("--blush"),
}


def parsed(*argv: str):
    return parse("relion_test", FLAGS, ["--i", "map.mrc", *argv])


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        ([], "angpix", -1.0),
        ([], "flatten_solvent", False),
        ([], "gpu", None),
        (["--angpix", "-200"], "angpix", -200.0),
        (["--angpix", "-1e-3"], "angpix", -0.001),
        (["--crop", "-1"], "crop", -1),
        (["--o", "-strange-name"], "o", "-strange-name"),
        (["--flatten_solvent"], "flatten_solvent", True),
        (["--gpu"], "gpu", ""),
        (["--gpu", ""], "gpu", ""),
        (["--gpu", "0:1", "--crop", "4"], "gpu", "0:1"),
        (["--gpu", "--crop", "4"], "crop", 4),
        (["--continue", "run_it003_optimiser.star"], "continue_", "run_it003_optimiser.star"),
        (["--pool", "30"], "pool", 30),
        (["--pipeline_control", "Job/"], "pipeline_control", "Job/"),
    ],
)
def test_values_are_read_as_relion_reads_them(argv, name, value):
    found = getattr(parsed(*argv), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--angpx", "4"], "unknown flag --angpx; did you mean --angpix?"),
        (["--zzz"], "unknown flag --zzz; see --help."),
        (["map2.mrc"], "'map2.mrc' is neither a flag nor the value of one."),
        (["--crop", "2.5"], "--crop needs a whole number, not '2.5'."),
        (["--angpix", "four"], "--angpix needs a number, not 'four'."),
        (["--crop"], "--crop needs a value."),
        (["--o", "--crop", "3"], "--o needs a value."),
        (["--crop", "1", "--crop", "2"], "--crop is given twice."),
        (["--blush"], "the embedded engine does not have --blush; leave it out or use RELION 5."),
    ],
)
def test_a_mistake_is_refused_with_one_sentence(argv, sentence):
    with pytest.raises(EngineError) as error:
        parsed(*argv)
    assert str(error.value) == f"relion_test: {sentence}"


def test_all_missing_required_flags_are_named():
    with pytest.raises(EngineError, match="--b and --o must be given"):
        parse("relion_test", {"--b": Flag("required", int), "--o": Flag("required", str)}, [])


def test_help_lists_every_flag_that_works(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert all(name in text for name in FLAGS if name != "--blush")
    assert "--blush" not in text


def test_version_says_that_it_is_the_embedded_engine(capsys):
    with pytest.raises(SystemExit):
        parse("relion_test", FLAGS, ["--version"])
    line = capsys.readouterr().out.strip()
    assert line.startswith("RELION version: staengine ")
    assert line.endswith("(embedded engine)")


@pytest.mark.parametrize("program", [subtomo, reconstruct_particle, reconstruct_tomogram, align_symmetry])
def test_every_flag_of_relion_is_either_there_or_refused_by_name(program):
    ours, theirs = program.FLAGS | cli.COMMON, CLI[program.PROGRAM]
    common = {"--help", "--theme"}  # --theme is of the tomo programs alone
    assert set(ours) - common == set(theirs) - common
    for name, flag in ours.items():
        if name not in common and flag.kind != "unsupported":
            assert flag.kind == theirs[name]["kind"], name
            if flag.kind == "value":
                assert flag.type(theirs[name]["default"]) == flag.default, name


# ---------------------------------------------------------------- python -m staengine


@pytest.fixture
def program(monkeypatch):
    """Make a program named `probe` that does what its function does."""

    def install(function):
        module = types.ModuleType("staengine.programs.probe")
        module.main = function
        monkeypatch.setitem(sys.modules, "staengine.programs.probe", module)
        monkeypatch.setitem(engine.PROGRAMS, "probe", "probe")

    previous = signal.getsignal(signal.SIGTERM)
    yield install
    signal.signal(signal.SIGTERM, previous)


def raising(error):
    def main(_):
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "mark"),
    [
        (lambda _: 0, 0, "SUCCESS"),
        (raising(EngineError("no particles.")), 1, "FAILURE"),
        (raising(AbortError("stopped.")), 2, "ABORTED"),
    ],
)
def test_exit_status_and_mark_in_the_job_folder(program, tmp_path, main, status, mark):
    program(main)
    assert engine.main(["probe", "--pipeline_control", f"{tmp_path}/"]) == status
    assert [path.name for path in tmp_path.iterdir()] == [f"RELION_JOB_EXIT_{mark}"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (EngineError("a.star does not exist."), "ERROR: a.star does not exist.\n"),
        (FileNotFoundError(2, "No such file", "b.mrc"), "ERROR: b.mrc does not exist.\n"),
        (OSError(28, "No space left on device", "c.mrc"), "ERROR: c.mrc: No space left on device.\n"),
        (MemoryError(), "ERROR: out of memory: use a smaller box or a larger binning.\n"),
    ],
)
def test_an_error_is_one_line_on_stderr(program, capsys, error, line):
    program(raising(error))
    assert engine.main(["probe"]) == 1
    assert capsys.readouterr().err == line


def test_an_unknown_program_is_refused_with_the_list_of_programs(capsys):
    assert engine.main(["relion_tomo_find_lattice"]) == 1
    assert "relion_tomo_subtomo, relion_tomo_reconstruct_particle" in capsys.readouterr().err


def test_stop_is_asked_by_a_file_in_the_job_folder(tmp_path):
    cli.stop_if_aborted(str(tmp_path))
    (tmp_path / "RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(AbortError):
        cli.stop_if_aborted(str(tmp_path))


def test_a_term_signal_ends_a_program_with_143():
    code = (
        "import sys, time, types\n"
        "from staengine import __main__ as engine\n"
        "probe = types.ModuleType('staengine.programs.probe')\n"
        "probe.main = lambda _: print('ready', flush=True) or time.sleep(60)\n"
        "sys.modules['staengine.programs.probe'] = probe\n"
        "engine.PROGRAMS['probe'] = 'probe'\n"
        "engine.main(['probe'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(20) == 143


def test_the_progress_bar_ends_as_relions(capsys):
    with cli.ProgressBar(3) as bar:
        for _ in range(3):
            bar.advance()
    last = capsys.readouterr().out.split("\r")[-1]
    assert last.endswith("." * 60 + '~~(,_,"> yum!\n')
    assert last.startswith("   0/   0 sec ")


def test_a_program_that_is_done_ends_at_once_so_that_no_signal_can_make_a_failure_of_it() -> None:
    tidying = "import atexit, runpy; atexit.register(print, 'tidied'); "
    run_it = "runpy.run_module('staengine', run_name='__main__')"
    command = [sys.executable, "-c", tidying + run_it, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ")
    assert "tidied" not in done.stdout
