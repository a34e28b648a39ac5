"""A small finished project for the report: RELION's own files of golden/, and the decisions made from them."""

import json
import shutil
from pathlib import Path

from stacycle.decisions.agreement import with_agreement
from stacycle.decisions.classes import choose_classes
from stacycle.decisions.cycle import Candidate, cycle_variant
from stacycle.decisions.decision import BEFORE, combine, write_decision
from stacycle.decisions.iteration import align_iteration, class3d_iteration
from stacycle.decisions.mask import mask_threshold
from stacycle.decisions.variant import Alignment, Variant, align_variant, class3d_variant
from stacycle.files import mrc, relion_output
from stacycle.files.optimisation_set import OptimisationSet
from stacycle.report import map_figures
from stacycle.report.project import Project

SVG = b'<svg viewBox="0 0 72 72"></svg>'  # a figure that is not drawn, where a test is about something else
GOLDEN = Path(__file__).parents[2] / "golden" / "data"
ROUND = {
    "name": "bin4",
    "binning": 4,
    "steps": [
        *("extract", "reconstruct", "align", "class3d", "select", "mask", "refine3d", "postprocess"),
        "cycle",
    ],
}


def make(project: Path) -> Path:
    """A finished bin4 round in the folder `project`, which is returned."""
    results = project / "results"
    bin4 = results / "bin4"
    for step, source in {"align/T1": "align", "class3d/T0.5_K3": "classify", "refine3d": "refine"}.items():
        shutil.copytree(GOLDEN / source, bin4 / step)
    for step in ("postprocess", "mask"):
        shutil.copytree(GOLDEN / step, bin4 / step)
    (bin4 / "extract").mkdir()
    shutil.copy(GOLDEN / "extract/particles.star", bin4 / "extract")
    (results / "inputs").mkdir()
    facts = {"particles": 70, "pixel_size": 5.0, "warnings": ["3 particles are in no tilt image."]}
    tomograms = [{"name": "TS_01", "tilts": 21}, {"name": "TS_02", "tilts": 21}]
    (results / "inputs/preflight.json").write_text(json.dumps(facts | {"tomograms": tomograms}))

    iteration = align_iteration(relion_output.iterations(bin4 / "align/T1"))
    variant = align_variant([Alignment("T1", 1, 48.0)])
    write_decision(bin4 / "align/decision.json", combine("Alignment", [variant, iteration]))
    consensus = bin4 / "align/T1/run_it005_class001.mrc"
    classes = with_agreement(relion_output.classes(bin4 / "class3d/T0.5_K3", 10), consensus, 260, 60)
    iteration = class3d_iteration(relion_output.iterations(bin4 / "class3d/T0.5_K3", maps=False))
    variant = class3d_variant([Variant("T0.5_K3", 0.5, classes)])
    write_decision(bin4 / "class3d/decision.json", combine("Classification", [variant, iteration]))
    chosen = choose_classes(classes)
    write_decision(bin4 / "select/decision.json", chosen)
    map_figures.class_montage(chosen.candidates, bin4 / "select/classes.png")
    density = mrc.voxels(bin4 / "class3d/T0.5_K3/run_it010_class003.mrc")
    write_decision(bin4 / "mask/decision.json", mask_threshold(density, 20, 45, 260))
    map_ = bin4 / "class3d/T0.5_K3/run_it010_class003.mrc"
    command = f"relion_mask_create --i {map_} --o {bin4}/mask/mask.mrc --lowpass 45 --ini_threshold 0.02"
    (bin4 / "mask/job.json").write_text(json.dumps({"command": command, "ended_well": True}))
    for state in ("refine3d/run_optimisation_set.star", "cycle1/polish/optimisation_set.star"):
        files = OptimisationSet(str(bin4 / "extract/particles.star"), "tomograms.star")
        files.write(bin4 / state)
    cycle_of(bin4 / "cycle1")
    return project


def cycle_of(folder: Path) -> None:
    """RELION's cycle of golden/: CTF refinement that is no better, so rolled back, then polishing that is."""
    before = folder / "postprocess/postprocess.star"
    before.parent.mkdir(parents=True)
    density, mask = (f"results/bin4/{path}" for path in ("postprocess/postprocess.mrc", "mask/mask.mrc"))
    text = (GOLDEN / "cycle/before/postprocess.star").read_text()
    text = text.replace("cycle/before/postprocess.mrc", density).replace("cycle/mask/mask.mrc", mask)
    before.write_text(text)
    sweeps = {
        "ctfrefine": {"defocus": "ctf_post"},
        "polish": {"motion": "polish_post", "stiff": "", "shift": "before"},
    }
    for sweep, variants in sweeps.items():
        candidates = []
        for name, source in variants.items():
            path = folder / sweep / name / "postprocess/postprocess.star"
            path.parent.mkdir(parents=True)
            path.write_text((GOLDEN / f"cycle/{source}/postprocess.star").read_text() if source else "")
            failed = "" if source else "relion_tomo_align was killed: give it more memory."
            candidates.append(Candidate(name, relion_output.fsc(path) if source else None, failed=failed))
        decision = cycle_variant(Candidate(BEFORE, relion_output.fsc(before)), candidates)
        write_decision(folder / sweep / "decision.json", decision)
        if (kept := decision.choice["variant"]) != BEFORE:
            text = (folder / sweep / kept / "postprocess/postprocess.star").read_text()
        before = folder / sweep / "postprocess.star"
        before.write_text(text)


BIN4 = "results/bin4"


def step(
    label: str, folder: str, state: str, cycle: int = 1, binning: int = 1, decision: str | None = None
) -> dict:
    return {
        "round": "bin4",
        "binning": binning,
        "label": label,
        "cycle": cycle,
        "part": "",
        "postprocess": f"{BIN4}/{folder}/postprocess.star",
        "state": f"{BIN4}/{state}",
        "decision": f"{BIN4}/{decision}/decision.json" if decision else None,
    }


REFINED, POLISHED = "refine3d/run_optimisation_set.star", "cycle1/polish/optimisation_set.star"
STEPS = [
    step("Refine3D, post-processed", "postprocess", REFINED, cycle=0, binning=4),
    step("Reconstruct bin1", "cycle1/postprocess", REFINED),
    step("CTF refinement", "cycle1/ctfrefine", REFINED, decision="cycle1/ctfrefine"),
    step("Polishing", "cycle1/polish", POLISHED, decision="cycle1/polish"),
]
PROJECT = Project(
    rounds=[ROUND],
    steps_with_resolution=STEPS,
    engine="relion",
    preflight="results/inputs/preflight.json",
    particles=[f"{BIN4}/extract/particles.star"],
    decisions=[f"{BIN4}/{step}/decision.json" for step in ("align", "class3d", "select", "mask")],
    montages=[f"{BIN4}/select/classes.png"],
    masks=[f"{BIN4}/mask/mask.mrc"],
    refined=[f"{BIN4}/refine3d/run_data.star"],
    postprocess=[f"{BIN4}/postprocess/postprocess.star"],
    maps=[f"{BIN4}/postprocess/postprocess.mrc"],
)
