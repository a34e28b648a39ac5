"""The command line of each step, made in one place: for the scripts that run it, the plan, and preflight.

A function takes what a step works on and its settings of the config, and adds what follows from these alone. What is
read from files before (`auto`, boxes) is in `of_job`; preflight, before there are any files, gives made-up values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacycle.files.star import OptimisationSet
from stacycle.programs import relion
from stacycle.recipe.rounds import DECIDED, SWEEPS, SWEPT, Recipe, variants
from stacycle.resources import site
from stacycle.resources.site import Layout

if TYPE_CHECKING:
    from stacycle.decisions import Decision

Settings = Mapping[str, Any]
# How a run that was cut off goes on; `--continue` is in no --help of some programs that have it.
RESUMED = (
    "relion_tomo_subtomo",
    "relion_tomo_reconstruct_particle",
    "relion_tomo_refine_ctf",
    "relion_tomo_align",
)
RESUMING = "--only_do_unfinished"
OF_SWEEP: Mapping[str, Callable[..., list[str]]] = {"ctfrefine": relion.refine_ctf, "polish": relion.polish}
# Preflight's values: what a config's `auto` may become, and a box.
_SOME_VALUE, _SOME_BOX = 30, 64


# ---------------------------------------------------------------- one function per step


def extract(
    files: OptimisationSet, out: str | Path, box: int, binning: int, settings: Settings, threads: int
) -> list[str]:
    """Extract the particles of a state into the folder `out`."""
    return relion.extract(
        particles=files.particles,
        tomograms=files.tomograms,
        trajectories=files.trajectories,
        out=str(out),
        box=box,
        binning=binning,
        threads=threads,
        **settings,
    )


def reconstruct(
    state: str, out: str | Path, box: int, binning: int, symmetry: str, settings: Settings, threads: int
) -> list[str]:
    """Reconstruct the average of a state into the folder `out`."""
    return relion.reconstruct(
        state=state,
        out=str(out),
        box=box,
        binning=binning,
        symmetry=symmetry,
        threads=threads,
        **settings,
    )


def classify(
    step: str,
    state: str,
    reference: str,
    out: str | Path,
    variant: Sequence[float],
    symmetry: str,
    settings: Settings,
    layout: Layout,
    engine: Settings,
    scratch: str | None,
) -> list[str]:
    """Align to one reference, or classify without alignment (`step`), with the [T, K] of one variant."""
    tau, classes = variant
    common = {
        "state": state,
        "reference": reference,
        "out": f"{out}/run",
        "T": tau,
        "classes": classes,
        "symmetry": symmetry,
        "threads": layout.threads,
        "pool": engine["pool"],
        "scratch": scratch,
        **settings,
    }
    argv = relion.align(gpu=layout.gpu, **common) if step == "align" else relion.class3d(**common)
    return relion.with_mpi(argv, layout.ranks, layout.launcher)


def mask(map: str, out: str, threshold: float, settings: Settings, threads: int) -> list[str]:
    """Make a mask from a map that is cut at `threshold`."""
    rest = {key: value for key, value in settings.items() if key != "threshold"}
    return relion.mask_create(map=map, out=out, threshold=threshold, threads=threads, **rest)


def refine3d(
    files: OptimisationSet,
    reference: str,
    masks: Sequence[str],
    out: str | Path,
    symmetry: str,
    settings: Settings,
    layout: Layout,
    engine: Settings,
    scratch: str | None,
) -> list[str]:
    """Refine two halves of a state, with the mask if there is one."""
    argv = relion.refine3d(
        particles=files.particles,
        tomograms=files.tomograms,
        trajectories=files.trajectories,
        reference=reference,
        mask=next(iter(masks), None),
        out=f"{out}/run",
        symmetry=symmetry,
        threads=layout.threads,
        gpu=layout.gpu,
        pool=engine["pool"],
        scratch=scratch,
        **settings,
    )
    return relion.with_mpi(argv, layout.ranks, layout.launcher)


def postprocess(half_map: str, masks: Sequence[str], out: str | Path, settings: Settings) -> list[str]:
    """Post-process two half maps, with the mask if there is one."""
    rest = {key: value for key, value in settings.items() if key != "bfactor"}
    return relion.postprocess(
        half_map=half_map,
        mask=next(iter(masks), None),
        out=f"{out}/postprocess",
        bfactor=None if settings["bfactor"] == "auto" else settings["bfactor"],
        **rest,
    )


def sweep_variant(
    sweep: str,
    state: str,
    half_maps: Sequence[str],
    mask: str,
    postprocess: str,
    out: str | Path,
    box: int,
    settings: Settings,
    threads: int,
) -> list[str]:
    """One variant of a sweep of the cycle: the tilt series against half maps, in a box for estimation (px)."""
    against = {"state": state, "half_maps": half_maps, "mask": mask, "postprocess": postprocess}
    return OF_SWEEP[sweep](**against, out=str(out), box=box, threads=threads, **settings)


# ---------------------------------------------------------------- of a job, from its files


def of_job(script: str, job: Any, engine: Settings) -> list[str]:
    """The command line of a job of Snakemake's (as its script or the DAG has it), from the files that are there.

    `script` is the name of the script that runs it, without .py: a rule may have another name where it is imported;
    `engine` is the config's section.
    UserError if a file that it follows from cannot be read, or no value follows from it.
    """
    return _OF_SCRIPT[script](job, engine)


def runs_program(script: str) -> bool:
    """Whether a script runs a program of RELION's."""
    return script in _OF_SCRIPT


def folder_of(job: Any) -> Path:
    """The folder that a job's program works in."""
    return Path(str(job.output[0])).parent


def mask_decision(job: Any) -> tuple[Decision, dict[str, Any]]:
    """The threshold of a mask job's map, and the settings with the low-pass filter that it holds for."""
    from stacycle.decisions import mask_threshold
    from stacycle.files import mrc
    from stacycle.recipe.auto import mask_lowpass

    params, settings = job.params, dict(job.params.settings)
    pixel = mrc.header(job.input.map).pixel
    settings["lowpass"] = mask_lowpass(settings["lowpass"], job.input.resolution, pixel)
    decision = mask_threshold(
        mrc.voxels(job.input.map),
        pixel,
        settings["lowpass"],
        params.diameter,
        settings["threshold"],
        key=f"{params.key}.threshold",
    )
    return decision, settings


def _extract(job: Any, _: Settings) -> list[str]:
    from stacycle.files import star
    from stacycle.recipe import auto

    params, files = job.params, star.read_optimisation_set(job.input.state[0])
    pixel = auto.series_pixel(files.tomograms) * params.binning
    box = auto.box(params.box, params.diameter, pixel)
    return extract(files, folder_of(job), box, params.binning, params.settings, job.threads)


def _reconstruct(job: Any, _: Settings) -> list[str]:
    from stacycle.recipe.auto import read_state

    params, state = job.params, read_state(job.input.state[0])
    return reconstruct(
        state.path, folder_of(job), state.box, params.binning, params.symmetry, params.settings, job.threads
    )


def _cycle_reconstruct(job: Any, _: Settings) -> list[str]:
    from stacycle.recipe.auto import read_state, unbinned_box

    params, state = job.params, read_state(job.input.state[0])
    box = unbinned_box(params.box, state.box, params.binning)
    return reconstruct(state.path, folder_of(job), box, 1, params.symmetry, params.settings, job.threads)


def _classify(job: Any, engine: Settings) -> list[str]:
    from stacycle.jobs.job import scratch_folder
    from stacycle.recipe.auto import read_state, resolve_auto

    params, state = job.params, read_state(job.input.state[0])
    return classify(
        _step(job),
        state.path,
        str(job.input.reference),
        folder_of(job),
        params.variant,
        params.symmetry,
        resolve_auto(params.settings, state, job.input.resolution),
        layout_of(job),
        engine,
        scratch_folder(engine["scratch"]),
    )


def _mask(job: Any, _: Settings) -> list[str]:
    decision, settings = mask_decision(job)
    threshold = decision.choice["threshold"]
    return mask(job.input.map, job.output.mask, threshold, settings, job.threads)


def _refine3d(job: Any, engine: Settings) -> list[str]:
    from stacycle.jobs.job import scratch_folder
    from stacycle.recipe.auto import read_state, resolve_auto

    params, state = job.params, read_state(job.input.state[0])
    return refine3d(
        state.files,
        str(job.input.reference),
        _listed(job.input.mask),
        folder_of(job),
        params.symmetry,
        resolve_auto(params.settings, state, job.input.resolution),
        layout_of(job, halves=True),
        engine,
        scratch_folder(engine["scratch"]),
    )


def _postprocess(job: Any, _: Settings) -> list[str]:
    return postprocess(job.input.half_maps[0], _listed(job.input.mask), folder_of(job), job.params.settings)


def _sweep_variant(job: Any, _: Settings) -> list[str]:
    from stacycle.recipe.auto import estimation_box

    params, files = job.params, job.input
    return sweep_variant(
        _step(job),
        files.state[0],
        files.half_maps,
        files.mask,
        files.postprocess,
        folder_of(job),
        estimation_box(params.box, files.half_maps[0], f"{params.key}.estimation_box"),
        params.settings,
        job.threads,
    )


_OF_SCRIPT: Mapping[str, Callable[[Any, Settings], list[str]]] = {
    "extract": _extract,
    "reconstruct": _reconstruct,
    "class3d": _classify,
    "mask": _mask,
    "refine3d": _refine3d,
    "postprocess": _postprocess,
    "cycle_reconstruct": _cycle_reconstruct,
    "cycle_variant": _sweep_variant,
}


def layout_of(job: Any, halves: bool = False) -> Layout:
    """How a job divides what Snakemake gave it; `halves`: for two half sets."""
    return site.layout(job.resources, job.threads, halves)


def _step(job: Any) -> str:
    """The step, or sweep, that a job makes one variant of."""
    return folder_of(job).parent.name


def _listed(files: Any) -> list[str]:
    """An input that is one file or several, as a list."""
    return [files] if isinstance(files, str) else list(files)


# ---------------------------------------------------------------- of a recipe, before there are files


def of_recipe(
    recipe: Recipe, config: Settings, layouts: Mapping[str, Layout]
) -> Iterator[tuple[str, list[str]]]:
    """(rule, command line) of all that a recipe can run, by names of files that are not there.

    `layouts` has what the profile makes of a rule's jobs; one that is not there has one rank, on CPUs. Paths, boxes
    and what is `auto` are made up; the programs and flags are those that will be used.
    """
    symmetry, engine = config["particle"]["symmetry"], config["engine"]
    scratch = engine["scratch"] and "scratch"
    files, moved = OptimisationSet("particles", "tomograms"), False
    for name, step in recipe:
        given = recipe.settings(name, step)
        settings = _filled({key: value for key, value in given.items() if key not in (*SWEPT, *DECIDED)})
        layout = layouts.get(step, Layout(0, 3 if step == site.TWO_HALVES else 1, 1))
        state = OptimisationSet(files.particles, files.tomograms, "trajectories" if moved else None)
        if step == "extract":
            yield step, extract(state, "out", _SOME_BOX, recipe.rounds[name]["binning"], settings, 1)
        elif step == "reconstruct":
            binning = recipe.rounds[name]["binning"]
            yield step, reconstruct("state", "out", _SOME_BOX, binning, symmetry, settings, 1)
        elif step in ("align", "class3d"):
            for one in variants(given).values():
                line = ("state", "map", "out", one, symmetry, settings, layout, engine, scratch)
                yield step, classify(step, *line)
        elif step == "mask":
            yield step, mask("map", "mask", _SOME_VALUE, settings, 1)
        elif step == "refine3d":
            masks = recipe.mask(name, step)
            yield step, refine3d(state, "map", masks, "out", symmetry, settings, layout, engine, scratch)
        elif step == "postprocess":
            yield step, postprocess("half1", recipe.mask(name, step), "out", given)
        elif step == "cycle":
            yield from _of_cycle(given, symmetry)
            moved |= _may_move(given)


def _of_cycle(settings: Settings, symmetry: str) -> Iterator[tuple[str, list[str]]]:
    bin1 = ("state", "out", _SOME_BOX, 1, symmetry, settings["reconstruct"], 1)
    fsc = ("half1", ["mask"], "out", settings["postprocess"])
    yield "cycle_reference", reconstruct(*bin1)
    yield "cycle_mask", mask("map", "mask", _SOME_VALUE, _filled(settings["mask"]), 1)
    yield "cycle_postprocess", postprocess(*fsc)
    for sweep in SWEEPS:
        for variant in (settings[sweep] or {}).values():
            files = ("state", ["half1", "half2"], "mask", "fsc")
            yield sweep, sweep_variant(sweep, *files, "out", _SOME_BOX, variant, 1)
            yield "variant_reconstruct", reconstruct(*bin1)
            yield "variant_postprocess", postprocess(*fsc)


def _may_move(settings: Settings) -> bool:
    """Whether a cycle can leave trajectories: those of a polishing with motion that can be kept."""
    polished, keep = settings["polish"] or {}, settings["choose"]["polish"]
    possible = polished.values() if keep == "auto" else [polished[keep]] if keep in polished else []
    return any(one["motion"] and not one["shift_only"] for one in possible)


def _filled(settings: Settings) -> dict[str, Any]:
    return {key: _SOME_VALUE if value == "auto" else value for key, value in settings.items()}
