"""3D classification, one run per T and number of classes; then the best iteration and variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stacycle.files.job_folder import DECISION
from stacycle.files.removed import ITERATIONS
from stacycle.programs import mpi, refine
from stacycle.programs.scratch import scratch_folder
from stacycle.recipe import auto, geometry
from stacycle.recipe.auto import State
from stacycle.recipe.refinement_settings import SEARCHED
from stacycle.recipe.variants import variants
from stacycle.resources.site import GPU, PARTICLES
from stacycle.steps import sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, filled, folder_of, layout_of, mask_of

ALIGNED = "class3d_aligned"  # the rule of those that search poses
FURTHER = "class3d_further"  # that of an iteration that is asked for, after others


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Classify a state, with the T and number of classes of one variant; with alignment if the settings say how."""
    layout, given = layout_of(job), arguments(job, engine, reader)
    alignment = given.pop("alignment", "none")
    if alignment == "none":
        argv = refine.class3d(**given, threads=layout.threads)
    else:
        given["local_range"] = given["local_range"] if alignment == "local" else None
        argv = refine.align(**given, threads=layout.threads, gpu=layout.gpu)
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def arguments(job: Any, engine: Settings, reader: Reader) -> dict[str, Any]:
    """What alignment and classification are given alike."""
    params, state = job.params, reader.state(job.input.state[0])
    tau, classes, *repeat = params.variant
    given = {"state": state.path, "T": tau, "classes": classes, **of_refinement(job, engine, state)}
    given["mask"] = mask_of(job)
    if repeat:  # null: a seed by the clock could be that of the first run, which starts at the same time
        given["seed"] = repeat[0] if given["seed"] is None else given["seed"] + repeat[0] - 1
    return given


def of_refinement(job: Any, engine: Settings, state: State) -> dict[str, Any]:
    """What alignment, classification and refinement of a state are given alike."""
    return {
        "reference": str(job.input.reference),
        "out": f"{folder_of(job)}/run",
        "symmetry": job.params.symmetry,
        "pool": engine["pool"],
        "scratch": scratch_folder(engine["scratch"]),
        **auto.resolve_auto(
            job.params.settings, state, job.input.resolution, getattr(job.input, "accuracy", [])
        ),
    }


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """One run for each variant, of the rule that aligns or of the others."""
    if run.recipe.aligns(run.round, run.step):
        yield from runs(ALIGNED, step, run, run.settings)
    else:
        unused = ("alignment", *SEARCHED)
        kept = {key: value for key, value in run.settings.items() if key not in unused}
        for rule in (step.name, FURTHER):
            yield from runs(rule, step, run, kept)


def runs(rule: str, step: Step, run: DryRun, settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """A run of a rule for each variant of a step's settings."""
    for variant in variants(settings).values():
        yield rule, run.command(step, filled(settings), rule=rule, variant=variant)


def space(size: Sizes, settings: Settings, order: int | None = None) -> Iterator[Need]:
    """What all variants write; `order` is the HEALPix order of the angles that are searched, if any."""
    if settings.get("alignment", "none") != "none":
        order = geometry.healpix_order(auto.sampling(settings["sampling"]))
    for _, classes, *_ in variants(settings).values():
        maps, iterations = sizes.maps(int(classes), size.image), settings["iterations"]
        tables = size.iteration(order, int(classes)) * (iterations + 1)
        yield size.need("maps of iterations", maps * max(0, iterations - 1), ITERATIONS)
        yield size.need("maps and tables", maps * min(2, iterations + 1) + tables)
    yield size.need("tables", size.rows() + sizes.tables(4))


STEP = Step(
    "class3d",
    "3D classification",
    command,
    dry_run,
    space,
    runs_alike=(ALIGNED, FURTHER),
    devices={ALIGNED: GPU},
    shared=PARTICLES,
    last=DECISION,
    removable={ITERATIONS: ("class3d/*", "class3d_*/*")},
    pictures=("sweep_by_iteration", "class_flow"),
)
