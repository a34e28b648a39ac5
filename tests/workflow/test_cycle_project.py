"""A cycle run with a stand-in for RELION, then changed, or with programs that fail: what is run, and what is kept.

One finished project is copied for each test. Its second round stands for all that follows a cycle.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import fake_relion
import pytest
from conftest import Project, overlay
from small_inputs import write_inputs

from stacycle.files.optimisation_set import OptimisationSet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cycle")]

POLISH = "results/first/cycle1/polish"
CTFREFINE = "results/first/cycle1/ctfrefine"
ROUNDS = {
    **dict.fromkeys(("bin4", "bin2", "bin1")),
    "first": {
        "binning": 4,
        "steps": ["extract", "reconstruct", "refine3d", "postprocess", "cycle"],
        "box": 48,
        "refine3d": {"lowpass": 40},
        "cycle": {
            "ctfrefine": {"regularised": {"regularisation": 0.1}, "scale_only": {"defocus": False}},
            "polish": {"motion": {"motion": True}, "no_motion": {"motion": False}},
        },
    },
    "second": {"binning": 2, "steps": ["extract"]},
}
DECIDE = {
    sweep: f"first/cycle1: keep the best of {sweep}, or what was before" for sweep in ("ctfrefine", "polish")
}
FOLLOWS = {"second: extract subtomograms"}
REPORT = {"Write the report", "Put the final map together"}


def of_variant(sweep: str, name: str) -> set[str]:
    """What is run for one variant."""
    verb = {"ctfrefine": "refine the CTF", "polish": "polish"}[sweep]
    start = "first/cycle1: "
    return {f"{start}{verb}, {name}"} | {
        f"{start}{what} after {sweep}, {name}" for what in ("reconstruct", "post-process")
    }


POLISHING = of_variant("polish", "motion") | of_variant("polish", "no_motion") | {DECIDE["polish"]}


class Cycle(Project):
    """A project with its own stand-in for RELION, which can be told to misbehave."""

    def __init__(self, folder: Path) -> None:
        sets = [{"tomograms": "set/tomograms.star", "particles": "set/particles.star"}]
        engine = {"kind": "relion", "bin": str(folder / "relion"), "scratch": None}
        super().__init__(
            folder, {"inputs": sets, "particle": {"diameter": 180}, "engine": engine, "rounds": ROUNDS}
        )
        self.programs()

    def programs(self, **misbehaviour: dict) -> None:
        fake_relion.install(
            self.folder / "relion", programs=(*fake_relion.PROGRAMS, "mpirun"), **misbehaviour
        )

    def set(self, **sweeps: dict) -> None:
        """Change the config's sweeps of the cycle."""
        self.config = overlay(self.config, {"rounds": {"first": {"cycle": sweeps}}})

    def run(self) -> set[str]:
        """Run what there is to do; the messages of the jobs that were really run."""
        done = self.snakemake("--max-threads", "1")
        assert done.returncode == 0, done.stderr[-6000:]
        return ran(done.stderr)

    def decision(self, sweep: str) -> dict:
        return json.loads((self.folder / f"results/first/cycle1/{sweep}/decision.json").read_text())

    def candidates(self, sweep: str) -> dict[str, dict]:
        return {row["variant"]: row for row in self.decision(sweep)["candidates"]}

    def last_command(self, program: str) -> str:
        found = [line for line in fake_relion.recorded(self.folder / "relion") if line[0] == program]
        return " ".join(found[-1])


def ran(said: str) -> set[str]:
    return set(re.findall(r"^Job \d+: (.*)$", said, re.MULTILINE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cycle") / "project"
    write_inputs(folder, "set", particles=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder / "relion"), prepend=":")
        Cycle(folder).run()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cycle]:
    folder = tmp_path / "project"
    subprocess.run(["cp", "-a", "--sparse=always", str(finished), str(folder)], check=True)
    monkeypatch.setenv("PATH", str(folder / "relion"), prepend=":")
    yield Cycle(folder)
    shutil.rmtree(folder)


def test_a_variant_that_changes_but_not_the_outcome_reruns_nothing_that_follows(project: Cycle) -> None:
    project.programs(
        relion_tomo_align={"with": "6", "gain": 0.72},
        relion_tomo_refine_ctf={"with": "--per_tomogram_scale", "gain": 0.98},
    )
    project.set(polish={"no_motion": {"max_error": 6}})
    assert project.run() == of_variant("polish", "no_motion") | {DECIDE["polish"]} | REPORT
    project.set(ctfrefine={"scale_only": {"scale": "tomogram"}})
    assert project.run() == of_variant("ctfrefine", "scale_only") | {DECIDE["ctfrefine"]} | REPORT
    assert project.jobs() == [], "there is something left to do after a run"


def test_a_variant_that_changes_the_outcome_reruns_all_that_follows_and_back_again(project: Cycle) -> None:
    project.programs(relion_tomo_align={"with": "--shift_only", "gain": 0.4})
    project.set(polish={"no_motion": {"shift_only": True}})
    changed = of_variant("polish", "no_motion") | {DECIDE["polish"]} | FOLLOWS | REPORT
    assert project.run() == changed
    assert project.decision("polish")["choice"] == {"variant": "no_motion"}
    assert f"--p {POLISH}/no_motion/particles.star" in project.last_command("relion_tomo_subtomo")
    project.set(polish={"no_motion": {"shift_only": False}})
    before = fake_relion.recorded(project.folder / "relion")
    assert project.run() == changed
    assert fake_relion.recorded(project.folder / "relion") == before, "earlier results are taken back"
    assert project.decision("polish")["choice"] == {"variant": "motion"}
    assert project.jobs() == []
    extracted = json.loads((project.folder / "results/second/extract/job.json").read_text())
    assert f"--mot {POLISH}/motion/motion.star" in extracted["command"]


def test_another_ctf_refinement_is_polished_anew(project: Cycle) -> None:
    project.programs(relion_tomo_refine_ctf={"with": "--per_tomogram_scale", "gain": 0.8})
    project.set(ctfrefine={"scale_only": {"scale": "tomogram"}})
    follows = {DECIDE["ctfrefine"]} | POLISHING | FOLLOWS | REPORT
    assert project.run() == of_variant("ctfrefine", "scale_only") | follows
    assert f"--i {CTFREFINE}/optimisation_set.star" in project.last_command("relion_tomo_align")


def test_a_person_who_keeps_another_variant_reruns_no_variant(project: Cycle) -> None:
    project.set(choose={"polish": "no_motion"})
    assert project.run() == {DECIDE["polish"]} | FOLLOWS | REPORT
    project.set(choose={"polish": "before"})
    assert project.run() == {DECIDE["polish"]} | FOLLOWS | REPORT
    assert f"--t {CTFREFINE}/tomograms.star" in project.last_command("relion_tomo_subtomo")


def test_a_new_variant_reruns_no_other(project: Cycle) -> None:
    project.set(polish={"smooth": {"gaussian_decay": True}})
    assert project.run() == of_variant("polish", "smooth") | {DECIDE["polish"]} | REPORT


def test_what_beats_nothing_is_rolled_back_and_what_follows_starts_from_the_state_before(
    project: Cycle,
) -> None:
    project.programs(relion_tomo_align={"gain": 1.0})
    project.set(estimation_box=256, polish={"motion": {"max_error": 4}, "no_motion": {"max_error": 4}})
    assert project.run() >= FOLLOWS
    decision = project.decision("polish")
    assert decision["choice"] == {"variant": "before"}
    assert decision["reason"].startswith("Rolled back")
    before, kept = (
        OptimisationSet.read(project.folder / f / "optimisation_set.star") for f in (CTFREFINE, POLISH)
    )
    assert kept == before
    for name in ("half1.mrc", "half2.mrc", "postprocess.star"):
        files = [project.folder / folder / name for folder in (CTFREFINE, POLISH)]
        assert files[0].read_bytes() == files[1].read_bytes()
    command = project.last_command("relion_tomo_subtomo")
    assert f"--t {CTFREFINE}/tomograms.star" in command
    assert "--mot" not in command


def test_a_failed_variant_does_not_take_the_others_down(project: Cycle) -> None:
    project.programs(
        relion_tomo_align={"with": "--motion", "exit": 1, "says": "ERROR:\nERROR: out of memory"}
    )
    project.set(polish={"motion": {"max_error": 4}})
    assert project.run() == of_variant("polish", "motion") | {DECIDE["polish"]} | FOLLOWS | REPORT
    assert project.decision("polish")["choice"] == {"variant": "no_motion"}
    rows = project.candidates("polish")
    assert "out of memory" in rows["motion"]["failed"]
    assert not rows["no_motion"]["failed"]
    assert any("out of memory" in warning for warning in project.decision("polish")["warnings"])
    assert "out of memory" in (project.folder / "results/report.html").read_text()


def test_if_all_variants_fail_it_says_so_and_the_next_run_tries_them_again(project: Cycle) -> None:
    project.programs(relion_tomo_align={"exit": 1, "says": "ERROR:\nERROR: out of memory"})
    project.set(polish={"motion": {"max_error": 4}, "no_motion": {"max_error": 4}})
    done = project.snakemake()
    assert done.returncode != 0
    (said,) = re.findall(r"ERROR: All.*", done.stderr)
    assert said.startswith(
        "ERROR: All 2 variants failed (motion: relion_tomo_align failed with exit status 1: "
        "relion_tomo_align ran out of memory"
    )
    assert "Traceback" not in done.stderr
    project.programs()
    assert project.run() >= POLISHING
    assert project.decision("polish")["choice"] == {"variant": "motion"}
