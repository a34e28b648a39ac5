"""The script of a multi-body refinement, with programs that stand in for RELION's: what settles gets a decision and a
picture, what drifts none."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stacycle.decisions.decision import read_decision
from stacycle.files import star

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/data/multibody"
FOLDER = Path("results/bin4/multibody")
BODY = {"relative_to": None, "angles": 10, "offset": 2}
SETTINGS = {
    "bodies": {"large": {"mask": "mask_large", **BODY}, "small": {"mask": "mask_small", **BODY}},
    **{"sampling": 1.8, "offset_range": 1.2, "offset_step": 0.6, "offsets_twice": True},
    **{"subtract": True, "components": 2},
}
# Each leaves what lies ready for it, where the command line says.
PROGRAM = """#!/bin/sh
case "$*" in *--version*) echo "RELION version: 5.0.1-commit-73f0a3"; exit 0;; esac
echo "$0 $*" >> calls
while [ "$1" != --o ]; do shift; done
cp -r ready/{ready}/. "$(dirname "$2")/"
cat ready/{ready}.said
"""
LAUNCHER = '#!/bin/sh\nshift 2\nexec "$@"\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "refs", "refs")
    shutil.copytree(GOLDEN / "mb", "mb")
    shutil.copytree("mb/job4", "ready/relion_refine_mpi")
    bodies = Path("ready/relion_refine_mpi")
    shutil.copy(bodies / "run_it004_data.star", bodies / "run_data.star")
    (bodies / "run_model.star").write_text("data_model_general\n")
    for body in (1, 2):
        for name in (f"body00{body}", f"half1_body00{body}_unfil", f"half2_body00{body}_unfil"):
            shutil.copy(GOLDEN / "refs/run_it003_half1_class001.mrc", bodies / f"run_{name}.mrc")
    analysis = Path("ready/relion_flex_analyse")
    analysis.mkdir()
    row = " ".join(["1.0"] * 12)
    (analysis / "analyse_eigenvectors.dat").write_text("\n".join(["rot-body-1", *[row] * 12]) + "\n")
    for component in (1, 2):
        shutil.copy(GOLDEN / "mb/body1.mrc", analysis / f"analyse_component00{component}_bin001.mrc")
    said = "".join(f"  + Component {number} explains {100 / 12}% of variance.\n" for number in range(1, 13))
    Path("ready/relion_flex_analyse.said").write_text(said)
    Path("ready/relion_refine_mpi.said").write_text(" Auto-refine: Iteration= 1\n")
    Path("bin").mkdir()
    programs = {name: PROGRAM.format(ready=name) for name in ("relion_refine_mpi", "relion_flex_analyse")}
    for name, text in {**programs, "relion_refine": PROGRAM, "mpirun": LAUNCHER}.items():
        Path("bin", name).write_text(text)
        Path("bin", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    return tmp_path


class Outputs(list):
    """Outputs of a job, by number and by name."""

    data, model = f"{FOLDER}/run_data.star", f"{FOLDER}/run_model.star"
    decision, picture = f"{FOLDER}/decision.json", f"{FOLDER}/motions.png"


def settle() -> None:
    """RELION's tables, of bodies that settle a few Å from the consensus."""
    random = np.random.default_rng(3)
    true = {body: random.normal(0, 4, (34, 3)) for body in (1, 2)}
    for number, share in ((1, 0.7), (2, 0.95), (4, 1.0)):
        path = f"ready/relion_refine_mpi/run_it{number:03d}_data.star"
        tables = star.read(path)
        for body, vectors in true.items():
            columns = dict(zip(("X", "Y", "Z"), (share * vectors).T, strict=True))
            moved = {f"rlnOrigin{axis}Angst": column for axis, column in columns.items()}
            tables[f"images_body_{body}"] = pd.DataFrame(tables[f"images_body_{body}"]).assign(**moved)
        star.write(path, tables)


def run(**settings: Any) -> None:
    output = Outputs([Outputs.data, Outputs.model, Outputs.decision, Outputs.picture])
    snakemake = SimpleNamespace(
        input=SimpleNamespace(consensus="refs/run_data.star", masks=["mb/body1.mrc", "mb/body2.mrc"]),
        output=output,
        params=SimpleNamespace(settings=SETTINGS | settings, key="rounds.bin4.multibody"),
        config={"engine": {"kind": "relion", "bin": "bin", "pool": 3, "scratch": None}},
        wildcards=SimpleNamespace(round="bin4"),
        log=["logs/multibody.log"],
        threads=3,
        resources={"gpu": 0, "ranks": 3},
    )
    sys.modules.pop("__main__.snakemake", None)
    runpy.run_path(str(ROOT / "scripts/multibody.py"), init_globals={"snakemake": snakemake})


def test_bodies_that_settle_get_a_decision_components_and_a_picture() -> None:
    settle()
    run()
    decision = read_decision(Outputs.decision)
    assert decision.choice == {"iteration": 4}
    assert "none drifts" in decision.reason
    assert Path(Outputs.picture).read_bytes().startswith(b"\x89PNG")
    assert Path("results/bin4/multibody_analyse/analyse_eigenvectors.dat").exists()
    assert Path("results/bin4/multibody_bodies/bodies.star").exists()
    calls = [line.split("bin/")[-1].split()[0] for line in Path("calls").read_text().splitlines()]
    assert calls == ["relion_refine_mpi", "relion_flex_analyse"]
    run()  # what has not changed is kept
    assert len(Path("calls").read_text().splitlines()) == 2


def test_bodies_that_drift_get_neither_and_are_refused_at_once_the_next_time() -> None:
    for _ in range(2):
        with pytest.raises(SystemExit):
            run()
        said = Path("logs/multibody.log").read_text().splitlines()[-1]
        assert said.startswith("ERROR: results/bin4/multibody: the body small drifts")
        assert said.endswith("parts: [small] (docs: States and parts).")
        assert not Path(Outputs.decision).exists()
        assert len(Path("calls").read_text().splitlines()) == 1


def test_too_few_particles_for_components_are_told_and_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle()
    monkeypatch.setattr("stacycle.programs.flex_analyse.PER_BODY", 20)
    run()
    assert (
        "WARNING: 34 particles are too few for principal components."
        in Path("logs/multibody.log").read_text()
    )
    assert Path(Outputs.decision).exists()
    assert not Path("results/bin4/multibody_analyse").exists()
