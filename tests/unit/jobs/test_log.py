"""The log of a job: all of it in the file, on the terminal what matters, each line with the job's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacycle.errors import Interrupted, UserError
from stacycle.jobs.log import LOGGER, TERMINAL_ONLY, task


def test_the_file_has_everything_and_the_terminal_what_matters(tmp_path: Path, capsys) -> None:
    log = tmp_path / "logs/step.log"
    with task(str(log), "bin4/step"):
        LOGGER.debug("$ relion_tool 100 %")
        LOGGER.info("goes on from\niteration 3")
        LOGGER.info("iteration 4 of 25", extra=TERMINAL_ONLY)
    assert log.read_text() == "$ relion_tool 100 %\ngoes on from\niteration 3\n"
    assert capsys.readouterr().err == (
        "[bin4/step] goes on from\n[bin4/step] iteration 3\n[bin4/step] iteration 4 of 25\n"
    )


def test_a_log_continues_where_an_earlier_run_ended(tmp_path: Path) -> None:
    for number in (1, 2):
        with task(str(tmp_path / "log"), "step") as log:
            log.info("run %s", number)
    assert (tmp_path / "log").read_text() == "run 1\nrun 2\n"


@pytest.mark.parametrize("error", [UserError("a mistake"), Interrupted("was stopped")])
def test_a_mistake_or_a_request_to_end_is_one_sentence_and_exit_status_1(error, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended, task(str(tmp_path / "log"), "step"):
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"[step] ERROR: {error}\n"
    assert (tmp_path / "log").read_text() == f"ERROR: {error}\n"


def test_any_other_error_keeps_its_traceback(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), task(str(tmp_path / "log"), "step"):
        1 / 0  # noqa: B018
