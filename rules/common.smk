"""What the rules of several steps share. Each function answers one question about the config."""

from functools import cache

from stacycle.inputs.asked import files_of
from stacycle.programs import software
from stacycle.recipe.parts import focused
from stacycle.resources import site as resources_site
from stacycle.steps.registry import devices, shared

DEVICES, SHARED = devices(), shared()
# The names of steps that can move particles, and of the folders of decisions.
MOVED = [name for kind in MOVES for name in recipe.named(kind)]
DECIDING = (
    *(name for kind in DECISIONS for name in recipe.named(kind)),
    *SWEEPS,
    *(f"{step}{POSES}" for step in MOVED),
)


# A rule whose step may stand several times in a round has the step's name as a wildcard, which is called as its kind.
wildcard_constraints:
    **{
        kind: "|".join(recipe.named(kind))
        for kind, flow in FLOW.items()
        if flow.repeats
    },


# A job's shares, and a classification that goes on after its early end, are the same work as a whole job.
for whole, other in [
    ("class3d", "class3d_further"),
    *(
        (name, f"{name}_share")
        for name, what in SHARED.items()
        if what == resources_site.TOMOGRAMS
    ),
]:
    snakemake_api.ask_alike(workflow, whole, other)


@cache
def config_notes():
    """What the config says without effect, or against itself: a sentence each, which is also a warning, once."""
    found = [*recipe.notes(), *map(str, notes(config))]
    for note in found:
        logger.warning(note)
    return found


def given_inputs(wc):
    """Input function: the files that the config names, or that a source of tilt series reads. Each run asks for them,
    so the config is warned of here.

    Snakemake refuses a missing file, but does not say where it looked.
    """
    config_notes()
    given = files_of(config["inputs"])
    for path in given:
        if not os.path.isfile(path):
            logger.error(
                f"{path}, named under inputs in the config, is not there: paths start at "
                f"the project folder (--directory), {Path.cwd()}; correct the path."
            )
    return given


def classifications(aligned):
    """Constraint of the wildcard `round` before a classification's folder: to those that align, or that do not."""
    found = [
        f"{round_}(?=/{step}/)"
        for round_, step in recipe
        if kind_of(step) == "class3d" and recipe.aligns(round_, step) == aligned
    ]
    return "|".join(found) or "(?!)"


def name_of(kind, wc):
    """The name of the step of a kind that a job is of: the kind itself, unless a wildcard tells."""
    return wc.get(kind, kind) if FLOW[kind].repeats else kind


def final_map():
    """What tells of the final map, if a map of the whole particle is post-processed."""
    whole = [rung for rung in recipe.rungs() if not rung["part"]]
    return rules.final.output if whole else []


# ---------------------------------------------------------------- resources


def queue(step):
    """Resources: the queue, GPUs and nodes of a step, by its device (Step.device) and what its ranks share."""

    def asked(wc=None):
        jobs = concurrent_jobs(step, wc) if wc else 1
        return site.resources(DEVICES[step], SHARED.get(step, ""), jobs)

    found, most = asked(), site.gpus(DEVICES[step])
    if "nodes" in found:
        found["nodes"] = lambda wc: asked(wc)["nodes"]
        found["tasks"] = lambda wc: asked(wc)["tasks"]
    if most and resources_site.gpus(found) == 0:
        found["gpu"] = most if most == 1 else lambda wc: gpus_of(step, wc)
        if "nodes" in found:
            found["gpu"] = lambda wc: most * asked(wc)["nodes"]
    return found


def cores(step, number):
    """Threads: `number`, unless the job's GPUs, the profile or this machine's cores give another."""
    return lambda wc: site.cores(
        number, gpus_of(step, wc), concurrent_jobs(step, wc), SHARED.get(step, "")
    )


def gpus_of(step, wc):
    """The GPUs of a job."""
    return site.gpus(DEVICES[step], concurrent_jobs(step, wc))


def concurrent_jobs(step, wc):
    """How many such jobs become ready at once: the variants of a sweep."""
    if step == "initial_model":
        return len(models(recipe.settings(wc.round, step)))
    if (kind := step.removesuffix("_aligned")) in ("align", "class3d"):
        return len(sweep(kind)(wc))
    name = wc.get("sweep", step)
    return len(recipe.settings(wc.round, "cycle")[name]) if name in SWEEPS else 1


def wall_time(minutes):
    """Resource function: more with each attempt, as far as the profile allows."""
    return lambda wc, attempt: site.wall_time(minutes, attempt)


def memory(mb):
    """Resource function: more with each attempt, as far as the profile allows."""
    return lambda wc, attempt: site.memory(mb, attempt)


# ---------------------------------------------------------------- shares


def shares_of(step, folder):
    """Input function: what the jobs leave that each do a share of a step's tomograms, beside its `folder`; nothing if the
    step is one job."""

    def files(wc):
        number = site.shares(SHARED[step], concurrent_jobs(step, wc))
        names = (
            [f"{one}of{number}" for one in range(1, number + 1)] if number > 1 else []
        )
        return [f"{folder.format(**wc)}{SHARES}/{name}/{DONE}" for name in names]

    return files


def share_of(folder):
    """The output of a job that does a share of the tomograms of another, whose folder is `folder`."""
    return temp(f"{folder}{SHARES}/{{share}}/{DONE}")


# ---------------------------------------------------------------- pilots


def pilot_of(sweep):
    """Input function: the decision on which variants of a sweep go on after a pilot, if the sweep has one."""

    def files(wc):
        given = recipe.settings(wc.round, "cycle")
        folder = f"results/{wc.round}/{wc.cycle}/{sweep}{PILOT}"
        return [f"{folder}/decision.json"] * bool(
            given["pilot"] and len(given[sweep]) > 1
        )

    return files


def pilot_shares(wc):
    """Params function: a pilot is on one of so many shares of the tomograms."""
    return round(1 / recipe.settings(wc.round, "cycle")["pilot"])


# ---------------------------------------------------------------- params


@cache
def engine_version():
    """The version of the programs: to know it, one of them has to run."""
    return software.version(config["engine"])


def engine(wc):
    """Params function: RELION or the embedded engine, whose results differ, and the version if a new one is to redo them."""
    kind = config["engine"]["kind"]
    if config["engine"]["new_version"] == "keep":
        return kind
    return f"{kind} {engine_version()}".strip()


def symmetry(kind):
    """Params function: the point group that a step uses."""
    return lambda wc: recipe.symmetry(wc.round, name_of(kind, wc))


def setting(*keys):
    """Params function: the value at these keys of a round's settings. A key can be a wildcard: "{variant}".

    (Snakemake's lookup() searches the whole config each time: seconds for a plan of many variants.)
    """

    def value(wc):
        found = recipe.rounds[wc.round]
        for key in keys:
            found = found[key.format(**wc)]
        return found

    return value


def settings(step, *left_out):
    """Params function: the settings of a step of a round, without the keys that the step does not use."""
    return lambda wc: {
        key: value
        for key, value in recipe.settings(wc.round, name_of(step, wc)).items()
        if key not in left_out
    }


def asked_shape(given):
    """Params function: a mask's settings, of its shapes only the one that is asked for."""
    return lambda wc: {
        key: value
        for key, value in given(wc).items()
        if value is not None or key not in SHAPES
    }


def sweep(step):
    """Params function: the variants of a step's sweep over T and K in a round, folder name -> [T, K]."""
    return lambda wc: variants(recipe.rounds[wc.round][name_of(step, wc)])


def diameter_if_auto_box(wc):
    """Params function: the particle's diameter, if the box follows from it."""
    auto = recipe.rounds[wc.round]["box"] == "auto"
    return config["particle"]["diameter"] if auto else None


# ---------------------------------------------------------------- inputs
#
# A decision that is made again may choose the same, and then nothing after it has to run. So:
# 1. Decisions are checkpoints. After a checkpoint Snakemake looks again at the jobs that take a file of it directly, and
#    leaves out those for which nothing has changed. So each rule takes a file of every decision before it (`decided`).
# 2. All files of a decision are written anew each time. They are `ancient`: no job runs because they are newer. Only the
#    newest decision's state.json is not. Snakemake compares such a small file by content, and the content is what the
#    decision chose.
# The config alone says which files there will be, so no rule needs `checkpoints.NAME.get()`.
# tests/dag/test_rules.py fails if a rule lacks a decision before it.


def by_content(paths):
    """Files that a step uses (one or several); those of a decision are `ancient`, but for its state.json."""
    if isinstance(paths, str):
        return by_content([paths])[0]
    return [
        (
            ancient(path)
            if Path(path).parent.name in DECIDING and Path(path).name != STATE_FILE
            else path
        )
        for path in paths
    ]


def with_decisions(files, *place):
    """Named input files, and the state.json of each decision before a place in the recipe (see Recipe.decided): that of
    one whose files are used is not `ancient`."""
    named = {name: by_content(paths) for name, paths in files.items()}
    given = [[paths] if isinstance(paths, str) else paths for paths in files.values()]
    used = {Path(path).parent for paths in given for path in paths}
    decided = recipe.decided(*place)
    return named | {
        "decided": [
            path if Path(path).parent in used else ancient(path) for path in decided
        ]
    }


def before(step, *parts, **named):
    """Input function to unpack: the newest files before a step of a round, and all decisions before it.

    `parts` are methods of Recipe: state, reference, mask, half_maps, resolution; `named` ones get another name.
    """

    def files(wc):
        place = wc.round, name_of(step, wc)
        found = {
            name: getattr(recipe, part)(*place)
            for name, part in (dict(zip(parts, parts)) | named).items()
        }
        return with_decisions(found, *place)

    return files


def of_classification(name):
    """Input function: a file of the classification that a selection chooses from."""
    return (
        lambda wc: f"results/{wc.round}/{recipe.classification(wc.round, wc.select)}/{name}"
    )


def earlier_mask(step):
    """Input function: the newest mask before a step, which the step's own is only compared with."""
    return lambda wc: [
        ancient(path) for path in recipe.earlier_mask(wc.round, name_of(step, wc))
    ]


def mask_shape(step):
    """Input function: what a mask is made of besides the newest map."""
    return lambda wc: by_content(recipe.shape(wc.round, name_of(step, wc)))


def post_processed(wc):
    """Input function: the newest post-processing before a local resolution, whose resolution the step's lengths follow from."""
    told = recipe.resolution(wc.round, wc.local_resolution)
    return next(path for path in told if Path(path).name == "postprocess.star")


def bodies_and_consensus(wc):
    """Input function to unpack: the refinement that a multi-body one goes on from, the masks of its bodies, and all
    decisions before it."""
    refined = bodies.consensus(recipe, wc.round)
    files = {
        "consensus": f"results/{wc.round}/{refined}/run_data.star",
        "masks": list(bodies.masks(recipe, wc.round).values()),
    }
    return with_decisions(files, wc.round, "multibody")


def parts_and_consensus(wc):
    """Input function to unpack: the maps and masks of a round's parts, the consensus, and all decisions before them."""
    steps = focused(recipe, wc.round).values()
    folders = [f"results/{wc.round}/{step}" for step in steps]
    decided = [recipe.decided(wc.round, step) for step in steps]
    return {
        "consensus": f"results/{wc.round}/postprocess/postprocess.mrc",
        "maps": [f"{folder}/postprocess.mrc" for folder in folders],
        "masks": [recipe.mask(wc.round, step)[0] for step in steps],
        "decided": list(
            dict.fromkeys(path for paths in decided for path in map(ancient, paths))
        ),
    }


def around_step(wc):
    """Input function to unpack: the states before and after a step, and all decisions before it."""
    files = {
        "before": recipe.state(wc.round, wc.moved),
        "after": recipe.left("state", wc.round, wc.moved),
    }
    return with_decisions(files, wc.round, wc.moved)


def compared_poses(wc):
    """Input function to unpack: what is compared after a step, and what the step left, which may go on."""
    average = recipe.averaged_before(wc.round, wc.moved)
    files = {
        "mask": recipe.mask(wc.round, wc.moved),
        "reference": recipe.left("reference", wc.round, wc.moved),
        "half_maps": recipe.left("half_maps", wc.round, wc.moved),
        "average_before": f"{average}/merged.mrc",
        "average_after": f"results/{wc.round}/{wc.moved}_poses/after/reconstruct/merged.mrc",
    }
    return around_step(wc) | {name: by_content(paths) for name, paths in files.items()}


def before_cycle(*parts):
    """As `before`, for the reference of a cycle: state, resolution."""
    return lambda wc: with_decisions(
        {part: getattr(recipe, f"cycle_{part}")(wc.round, wc.cycle) for part in parts},
        *(wc.round, "cycle", wc.cycle),
    )


def before_sweep(*parts, of=None, **named):
    """As `before`, for what a cycle's sweep starts from: state, half_maps, map, postprocess.

    `of` is the sweep; without it, that of the wildcards.
    """

    def files(wc):
        place = wc.round, wc.cycle, of or wc.sweep
        start = recipe.start(*place)
        found = {
            name: getattr(start, part)
            for name, part in (dict(zip(parts, parts)) | named).items()
        }
        return with_decisions(found, wc.round, "cycle", *place[1:])

    return files


def own_map(wc):
    """Input function: the map of one's own that an initial model begins with, if there is one."""
    given = recipe.settings(wc.round, "initial_model")["reference"]
    return [given] if given else []


def last_models(wc):
    """Input function: the last iteration of each initial model."""
    given = recipe.settings(wc.round, "initial_model")
    return [
        f"results/{wc.round}/initial_model/{name}/run_it{model_iterations(given):03d}_data.star"
        for name in models(given)
    ]


def last_iterations(step):
    """Input function: the last iteration of each variant of a step's sweep."""

    def files(wc):
        name = name_of(step, wc)
        iterations = recipe.settings(wc.round, name)["iterations"]
        return [
            f"results/{wc.round}/{name}/{variant}/run_it{iterations:03d}_data.star"
            for variant in sweep(step)(wc)
        ]

    return files


def classified(wc):
    """Input function: how far each run of a classification's sweep went, and the iteration that the config names; with
    alignment, the last iteration."""
    name = name_of("class3d", wc)
    if recipe.aligns(wc.round, name):
        return last_iterations("class3d")(wc)
    asked = recipe.settings(wc.round, name)["iteration"]
    files = [HOW_FAR] + ([f"run_it{asked:03d}_data.star"] if asked != "auto" else [])
    return [
        f"results/{wc.round}/{name}/{variant}/{file}"
        for variant in sweep("class3d")(wc)
        for file in files
    ]


def sweep_variants(wc):
    """Params function: the variants of a cycle's sweep, folder name -> settings."""
    return recipe.settings(wc.round, "cycle")[wc.sweep]


def of_each_variant(name):
    """Input function: one file of each variant of a cycle's sweep."""
    return collect(
        f"results/{{{{round}}}}/{{{{cycle}}}}/{{{{sweep}}}}/{{variant}}/{name}",
        variant=sweep_variants,
    )
