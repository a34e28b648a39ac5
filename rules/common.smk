"""What the rules of several steps share. Each function answers one question about the config."""

from functools import cache

from stacycle.programs import software
from stacycle.resources import site as resources_site

# What the rules are called where the workflow is imported: use rule * from stacycle as sta_*.
RENAMED = workflow.modifier.modify_rulename("*")
SHOWN_DECISIONS = (*DECISIONS, "mask")

NOTES = [*recipe.notes(), *map(str, notes(config))]
for note in NOTES:
    logger.warning(note)


def given_inputs():
    """The STAR files that the config names. Snakemake refuses a missing one, but does not say where it looked."""
    given = [
        path
        for one in config["inputs"]
        for path in (one["tomograms"], one["particles"])
    ]
    for path in given:
        if not os.path.isfile(path):
            logger.error(
                f"{path}, named under inputs in the config, is not there: paths start at "
                f"the project folder (--directory), {Path.cwd()}; correct the path."
            )
    return given


@cache
def engine_kind():
    """RELION or the embedded engine, and the version if a new one is a reason to redo what is there.

    A change of it makes other results, so every program's rule tracks it.
    """
    kind = config["engine"]["kind"]
    if config["engine"]["new_version"] == "keep":
        return kind
    return f"{kind} {software.version(config['engine'])}".strip()


def queue(step):
    """Resources of a rule: where the jobs of a step go, by its kind of work (stacycle.resources.site.KINDS)."""
    found, most = site.resources(step), site.gpus(step)
    if most and resources_site.gpus(found) == 0:
        found["gpu"] = most if most == 1 else lambda wc: gpus_of(step, wc)
    return found


def cores(step, number):
    """Threads of a rule: so many cores, or what a job's GPUs or the cores of this machine make of it."""
    return lambda wc: site.cores(number, gpus_of(step, wc), side_by_side(step, wc))


def gpus_of(step, wc):
    """The GPUs of a job."""
    return site.gpus(step, side_by_side(step, wc))


def side_by_side(step, wc):
    """How many jobs like this one will be ready at once: the variants of a sweep."""
    if step in ("align", "class3d"):
        return len(sweep(step)(wc))
    name = wc.get("sweep", step)
    return len(recipe.settings(wc.round, "cycle")[name]) if name in SWEEPS else 1


def wall_time(minutes):
    """Resource function: more with each attempt, as far as the profile allows."""
    return lambda wc, attempt: site.wall_time(minutes, attempt)


def memory(mb):
    """Resource function: more with each attempt, as far as the profile allows."""
    return lambda wc, attempt: site.memory(mb, attempt)


def settings(step, *left_out):
    """Params function: the config's settings of a step of the wildcards' round, less the keys that it does not use."""
    return lambda wc: {
        key: value
        for key, value in recipe.settings(wc.round, step).items()
        if key not in left_out
    }


def setting(step, key):
    """Params function: one setting of a step of the wildcards' round."""
    return lambda wc: recipe.settings(wc.round, step)[key]


def diameter_if_auto_box(wc):
    """Params function: the particle's diameter, if the box follows from it."""
    return (
        config["particle"]["diameter"]
        if recipe.rounds[wc.round]["box"] == "auto"
        else None
    )


def by_content(paths):
    """The files of a decision are as new as the decision, but its state file tells whether they hold anything new."""
    return [
        (
            ancient(path)
            if Path(path).parent.name in (*DECISIONS, *SWEEPS)
            and Path(path).name != STATE_FILE
            else path
        )
        for path in paths
    ]


def decided_before(step):
    """Input function: the decisions that the step hangs on, however far back.

    Decisions are checkpoints: after one, Snakemake looks at the jobs that depend on it again, and leaves out those
    for which nothing has changed.
    """
    return lambda wc: [ancient(path) for path in recipe.decided(wc.round, step)]


def state_before(step):
    """Input function: the optimisation set that the step starts from, and what tells whether it is the same."""
    return lambda wc: by_content(recipe.state(wc.round, step))


def reference_before(step):
    """Input function: the newest reference map before the step."""
    return lambda wc: by_content([recipe.reference(wc.round, step)])[0]


def mask_before(step):
    """Input function: the round's mask, if a mask is made before the step."""
    return lambda wc: recipe.mask(wc.round, step)


def half_maps_before(step):
    """Input function: the newest pair of half maps before the step."""
    return lambda wc: recipe.half_maps(wc.round, step)


def resolution_before(step):
    """Input function: the files before the step that tell a resolution, newest first."""
    return lambda wc: recipe.resolution(wc.round, step)


def sweep(step):
    """The variants of a step's sweep in the wildcards' round: folder name -> [T, K]."""
    return lambda wc: variants(recipe.settings(wc.round, step))


def last_iterations(step):
    """Input function: what the last iteration of each variant of a step's sweep leaves."""

    def files(wc):
        last = recipe.settings(wc.round, step)["iterations"]
        return [
            f"results/{wc.round}/{step}/{name}/run_it{last:03d}_data.star"
            for name in sweep(step)(wc)
        ]

    return files


def cycle_setting(*keys):
    """Params function: one setting of the cycle of the wildcards' round."""

    def value(wc):
        found = recipe.settings(wc.round, "cycle")
        for key in keys:
            found = found[key]
        return found

    return value


def decided_before_sweep(sweep=None):
    """Input function: as `decided_before`, for a sweep's variants, or (None) for the sweep that the wildcards name."""
    return lambda wc: [
        ancient(path)
        for path in recipe.decided(
            wc.round, "cycle", wc.cycle, sweep or wc.get("sweep", "")
        )
    ]


def sweep_start(part, sweep=None):
    """Input function: the state, half maps, map or FSC that a sweep's variants start from."""

    def files(wc):
        found = getattr(recipe.start(wc.round, wc.cycle, sweep or wc.sweep), part)
        return by_content([found])[0] if isinstance(found, str) else by_content(found)

    return files


def sweep_variants(wc):
    """The variants of a cycle's sweep: folder name -> settings."""
    return recipe.settings(wc.round, "cycle")[wc.sweep]


def of_sweep_variants(name):
    """Input function: one file of each of a sweep's variants."""
    return lambda wc: [
        f"results/{wc.round}/{wc.cycle}/{wc.sweep}/{variant}/{name}"
        for variant in sweep_variants(wc)
    ]


def of_all_rounds(step, name):
    """The files of one name that a step leaves, over all rounds that have the step."""
    return [
        f"results/{round_}/{step}/{name}"
        for round_ in recipe.rounds
        if recipe.has(round_, step)
    ]
