"""What the rules of several steps share. Each function answers one question about the config."""

# One run per value: named in the folder, not in the settings of a run.
SWEPT = ("T", "classes")
# Used by the decision, not by the runs.
DECIDED = ("iteration", "variant")
DECISIONS = ("align", "class3d", "select", "mask")


def given_inputs():
    """The STAR files that the config names. Snakemake refuses a missing one, but does not say where it looked."""
    given = [
        path
        for one in config["inputs"]
        for path in (one["tomograms"], one["particles"])
    ]
    for path in given:
        if not Path(path).is_file():
            logger.error(
                f"{path}, named under inputs in the config, is not there: paths start at "
                f"the project folder (--directory), {Path.cwd()}; correct the path."
            )
    return given


def engine_kind():
    """RELION or the embedded engine: a change of it makes other results, so every program's rule tracks it."""
    return config["engine"]["kind"]


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


def state_before(step):
    """Input function: the optimisation set that the step starts from, and its particles."""
    return lambda wc: recipe.state(wc.round, step)


def reference_before(step):
    """Input function: the newest reference map before the step."""
    return lambda wc: recipe.reference(wc.round, step)


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


def of_all_rounds(step, name):
    """The files of one name that a step leaves, over all rounds that have the step."""
    return [
        f"results/{round_}/{step}/{name}"
        for round_ in recipe.rounds
        if recipe.has(round_, step)
    ]
