"""3D multi-body: bodies of a particle that move against each other, and the principal components of that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacycle.errors import UserError
from stacycle.files import bodies, job_folder, mrc
from stacycle.files.job_folder import DECISION, FINAL_DATA, PROGRAM_OUTPUT
from stacycle.files.removed import ITERATIONS
from stacycle.programs import flex_analyse, mpi, multibody
from stacycle.programs.scratch import scratch_folder
from stacycle.recipe import auto, geometry
from stacycle.resources.site import GPU
from stacycle.steps import sizes
from stacycle.steps.dry_run import DryRun
from stacycle.steps.refine3d import MOST_ITERATIONS
from stacycle.steps.sizes import Need, Sizes
from stacycle.steps.step import FILES, Reader, Settings, Step, folder_of, layout_of

if TYPE_CHECKING:
    from stacycle.decisions.decision import Decision

_MAPS_PER_COMPONENT = 10
_SAME = 0.05  # of the offsets asked for, those searched may be off by rounding


def command(job: Any, engine: Settings, reader: Reader = FILES) -> list[str]:
    """Refine the bodies from the last iteration of the refinement before that has half maps."""
    layout, given = layout_of(job, half_sets=True), job.params.settings
    optimiser, pixel = _consensus(job) if reader is FILES else ("run_it001_optimiser.star", 1.0)
    # RELION multiplies by the pixel size where it reads them, and again as the count of iterations begins at 0
    unit = pixel if given["offsets_twice"] else 1
    argv = multibody.argv(
        optimiser=optimiser,
        bodies=str(bodies_file(job)),
        out=f"{folder_of(job)}/run",
        sampling=given["sampling"],
        offset_range=given["offset_range"] / unit,
        offset_step=given["offset_step"] / unit,
        subtract=given["subtract"],
        pool=engine["pool"],
        scratch=scratch_folder(engine["scratch"]),
        threads=layout.threads,
        gpu=layout.gpu,
    )
    return mpi.with_mpi(argv, layout.ranks, layout.launcher)


def bodies_file(job: Any) -> Path:
    """Where a job's bodies.star is: beside its folder, as what lies in that is moved with its earlier results."""
    return folder_of(job).with_name(f"{folder_of(job).name}_bodies") / bodies.BODIES


def prepare(job: Any) -> None:
    """Write bodies.star, larger bodies first, by the volumes of their masks."""
    masks = dict(zip(job.params.settings["bodies"], map(str, job.input.masks), strict=True))
    _, pixel = _consensus(job)
    given = [
        bodies.Body(name, masks[name], body["relative_to"] or "", body["angles"], body["offset"] * pixel)
        for name, body in job.params.settings["bodies"].items()
    ]
    volumes = {name: float(mrc.voxels(mask).sum(dtype=float)) for name, mask in masks.items()}
    bodies.write(bodies_file(job), bodies.in_order(given, volumes))


def analysis(job: Any) -> list[str]:
    """The command line of the analysis of what the job made."""
    folder = folder_of(job)
    return flex_analyse.argv(
        model=f"{folder}/run_model.star",
        data=f"{folder}/{FINAL_DATA}",
        bodies=str(bodies_file(job)),
        out=f"{analysis_folder(job)}/analyse",
        components=job.params.settings["components"],
    )


def analysis_folder(job: Any) -> Path:
    """Where the analysis of a job works."""
    return analysis_beside(folder_of(job))


def analysis_beside(folder: Path) -> Path:
    """Where the analysis of the job in a folder works."""
    return folder.with_name(f"{folder.name}_analyse")


def decide(job: Any) -> Decision:
    """How the bodies moved. UserError if one drifts, or if offsets were searched that were not asked for."""
    from stacycle.decisions import body_motions

    folder, given = folder_of(job), job.params.settings
    names = bodies.names(bodies_file(job))
    motions, (_, pixel) = body_motions.of_run(folder, names), _consensus(job)
    searched, asked = motions[0].searched, given["offset_range"] * pixel
    if abs(searched - asked) > _SAME * asked:
        problem = f"offsets within {searched:.4g} Å were searched, not the {asked:.4g} Å of offset_range"
        cure = f"set offsets_twice to {'false' if given['offsets_twice'] else 'true'}"
        raise UserError(problem, cure, job.params.key)
    body_motions.refuse_drift(folder, motions, pixel)
    return body_motions.summary(motions)


def explained(job: Any) -> list[float]:
    """What each principal component of a job explains, in percent; none without an analysis."""
    return explained_by(analysis_folder(job), len(job.input.masks))


def explained_by(folder: Path, bodies: int) -> list[float]:
    """What each principal component of so many bodies explains, in percent, by what the analysis in a folder said."""
    path = folder / PROGRAM_OUTPUT
    said = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return flex_analyse.explained(said.splitlines())[-flex_analyse.PER_BODY * bodies :]


def _consensus(job: Any) -> tuple[str, float]:
    """The optimiser of the last iteration with half maps of the refinement before, and their pixel size in Å. That of
    the refinement's end will not do, for the half sets are joined there."""
    from stacycle.files import relion_output

    folder = Path(job.input.consensus).parent
    found = relion_output.iterations(folder)
    if not found:
        problem = f"{folder}: no iteration is there with all its tables and half maps"
        raise UserError(problem, f"run it again: stacycle redo {folder}")
    optimiser = str(folder / job_folder.iteration(found[-1].number, "optimiser.star"))
    return optimiser, mrc.box_and_pixel(multibody.half_maps(optimiser)[0])[1]


def dry_run(step: Step, run: DryRun) -> Iterator[tuple[str, list[str]]]:
    """The refinement of the bodies, and its analysis."""
    yield step.name, run.command(step, run.settings)
    components = run.settings["components"]
    yield step.name, flex_analyse.argv(model="m", data="d", bodies="b", out="o", components=components)


def space(size: Sizes, settings: Settings) -> Iterator[Need]:
    count = len(settings["bodies"])
    order = (
        geometry.healpix_order(auto.sampling(settings["sampling"])) + 1
    )  # it goes to finer angles by itself
    tables = size.iteration(order, count, models=2) * (MOST_ITERATIONS + 1)
    tables += size.rows() * (count * (MOST_ITERATIONS + 1))  # a table of each body
    maps = sizes.maps(4 * count, size.image)  # filtered and unfiltered, of each half
    yield size.need("maps of iterations", maps * MOST_ITERATIONS, ITERATIONS)
    components = sizes.maps(_MAPS_PER_COMPONENT * settings["components"], size.image)
    yield size.need("maps and tables", maps + sizes.maps(4 * count, size.image) + tables + components)


STEP = Step(
    "multibody",
    "3D multi-body",
    command,
    dry_run,
    space,
    device=GPU,
    half_sets=True,
    last=DECISION,
    removable={ITERATIONS: ("multibody",)},
    pictures=("body_motions",),
)
