"""Settings that are right one by one, but not together: some cannot work, others have no effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from stacycle.errors import UserError
from stacycle.recipe import bodies
from stacycle.recipe.refinement_settings import SEARCHED, Class3D
from stacycle.recipe.rounds import SWEEPS
from stacycle.recipe.settings import (
    PICK_FORMATS,
    SOURCES,
    Config,
    Engine,
    InputSet,
    PickFiles,
    SetOptions,
)
from stacycle.recipe.step_names import classification_of, part_of
from stacycle.recipe.step_settings import SHAPES, Cycle, Mask, Postprocess, Round, is_step, kind_of
from stacycle.recipe.variants import variants

OWN_FOLDERS = ("inputs", "final", "relion")  # in results/, beside those of rounds
_MASKED = ("refine3d", "postprocess", "local_resolution")  # kinds that use the mask before them unasked


def contradictions(config: Config) -> Iterator[UserError]:
    """What cannot work, such as the choice of a run or iteration that there will not be."""
    yield from _of_inputs(config.inputs)
    yield from _of_engine(config.engine)
    yield from _of_pauses(config)
    is_known = all(one.hand != "auto" for one in config.inputs)
    for name, settings in config.rounds.items():
        if name in OWN_FOLDERS:
            cure = "give the round another name"
            yield UserError("results/ has a folder of that name already", cure, f"rounds.{name}")
        if settings is not None:
            yield from _of_round(f"rounds.{name}", settings)
            yield from _of_extraction(f"rounds.{name}", settings, config.engine)
            if settings.has("hand") and is_known:
                cure = "give a set hand: auto, or take hand out of the steps"
                yield UserError("hand compares those of sets with hand: auto", cure, f"rounds.{name}.steps")


def _of_inputs(inputs: Sequence[InputSet]) -> Iterator[UserError]:
    """Sets of no source or of several, and what has no effect in them; names that two sets have."""
    labels: set[str] = {"tilt_series"}  # folders in results/inputs
    for number, one in enumerate(inputs, 1):
        key, given = f"inputs.{number}", one.model_dump(exclude_none=True)
        yield from _one_of(SOURCES, given, key, "tilt series")
        if given.keys() & {"tomograms"}:
            for idle in (option for option in SetOptions.model_fields if option not in ("particles", "name")):
                if idle in given and given[idle] != "auto":
                    cure = f"leave it out; it belongs to {', '.join(SOURCES[1:])}"
                    yield UserError("is what tomograms.star says itself", cure, f"{key}.{idle}")
        if isinstance(one.particles, PickFiles):
            yield from _one_of(PICK_FORMATS, given["particles"], f"{key}.particles", "picks")
            if one.particles.unit and not one.particles.text:
                yield UserError("is for text alone", "leave it out", f"{key}.particles.unit")
        if (label := one.name or f"set{number}") in labels and given.keys() & {*SOURCES[1:]}:
            yield UserError(f"{label} is the name of another set or folder", "give another", f"{key}.name")
        labels.add(label)


def _one_of(keys: Sequence[str], given: Mapping[str, Any], where: str, what: str) -> Iterator[UserError]:
    named = [key for key in keys if key in given]
    if not named:
        yield UserError(f"names no {what}", f"give one of {', '.join(keys)}", where)
    if named[1:]:
        cure = "give each a set of its own"
        yield UserError(f"{' and '.join(named)} are given together", cure, where)


def _of_engine(engine: Engine) -> Iterator[UserError]:
    if engine.kind == "embedded":
        for key in ("bin", "modules", "container"):
            if getattr(engine, key) is not None:
                cure = "set engine.kind to relion, or leave it out"
                yield UserError("the embedded engine needs none", cure, f"engine.{key}")
    if engine.modules is not None and engine.container is not None:
        cure = "leave one out. A module that Apptainer needs is loaded before Snakemake is started"
        yield UserError("the one replaces the other", cure, "engine.modules, engine.container")
    if engine.container_args and engine.container is None:
        cure = "name the image there, or leave them out"
        yield UserError("belong to engine.container", cure, "engine.container_args")


def _of_pauses(config: Config) -> Iterator[UserError]:
    """Pauses after steps that there are not."""
    rounds = {name: settings.steps for name, settings in config.rounds.items() if settings is not None}
    known = list(dict.fromkeys(step for steps in rounds.values() for step in steps))
    placed = [f"{name}/{step}" for name, steps in rounds.items() for step in steps]
    for name in [config.pause] if isinstance(config.pause, str) else config.pause or ():
        if name not in known and name not in placed:
            close = difflib.get_close_matches(name, [*known, *placed], n=1)
            cure = f"did you mean {close[0]}?" if close else f"the steps are {', '.join(known)}"
            yield UserError(f"no round has a step {name}", cure, "pause")


def _of_round(where: str, settings: Round) -> Iterator[UserError]:
    for step in settings.steps:
        key, kind = f"{where}.{step}", kind_of(step)
        chosen: Any = getattr(settings, step)
        if kind in ("align", "class3d"):
            runs = list(variants(chosen.model_dump()))
            if chosen.variant not in ("auto", *runs):
                cure = f"choose auto, {', '.join(runs)}"
                yield UserError(f"there is no run {chosen.variant}", cure, f"{key}.variant")
            if chosen.iteration != "auto" and chosen.iteration > chosen.iterations:
                problem = f"{chosen.iteration} comes after the last, {chosen.iterations}"
                yield UserError(problem, "choose an earlier one or raise iterations", f"{key}.iteration")
        offsets = [chosen.offset_step, chosen.offset_range] if hasattr(chosen, "offset_step") else ["auto"]
        if "auto" not in offsets and offsets[0] > offsets[1]:
            wide = f"{chosen.offset_range:g} px"
            problem = f"{chosen.offset_step:g} px leads out of the range of {wide} that is searched"
            yield UserError(problem, "give a smaller one, or raise offset_range", f"{key}.offset_step")
        if kind == "extract" and settings.box != "auto" and (chosen.crop or 0) > settings.box:
            problem = f"{chosen.crop} px is more than the box of {settings.box}"
            yield UserError(problem, "give at most that, or null", f"{key}.crop")
        if kind == "select" and (classification := classification_of(step, settings.steps, settings.parts)):
            yield from _of_classes(f"{key}.classes", chosen.classes, classification, settings)
        if kind == "mask":
            yield from _of_shapes(key, chosen)
        if kind == bodies.STEP:
            yield from bodies.contradictions(where, chosen, getattr(settings.extract, "stack2d", True))
        if kind == "cycle":
            yield from _of_cycle(key, chosen)
            yield from _of_shapes(f"{key}.mask", chosen.mask)
            if chosen.mask.difference:
                yield UserError("a cycle has no classes", "leave it out", f"{key}.mask.difference")


def _of_extraction(where: str, settings: Round, engine: Engine) -> Iterator[UserError]:
    """Pseudo-subtomograms for what takes 2D stacks only."""
    if not settings.has("extract") or settings.extract.stack2d:
        return
    key = f"{where}.extract.stack2d"
    if engine.kind == "embedded":
        cure = "leave it true, or set engine.kind to relion"
        yield UserError("the embedded engine writes and reads 2D stacks only", cure, key)
    if settings.has("score"):
        problem = "score compares tilt images, which 3D pseudo-subtomograms are not"
        yield UserError(problem, f"leave it true, or take score out of {where}.steps", key)


def _of_shapes(key: str, mask: Mask) -> Iterator[UserError]:
    """Several shapes for one mask, and a difference of a class from itself."""
    if (shapes := [one for one in SHAPES if getattr(mask, one)])[1:]:
        yield UserError(f"{' and '.join(shapes)} are given together", "give one of them", key)
    if mask.difference and len(set(mask.difference)) == 1:
        yield UserError("a class does not differ from itself", "name two classes", f"{key}.difference")


def _of_classes(key: str, classes: Any, classification: str, settings: Round) -> Iterator[UserError]:
    """Classes to keep that no run of the classification has which can be chosen."""
    given = getattr(settings, classification)
    runs, chosen = variants(given.model_dump()), given.variant
    if classes == "auto" or chosen not in ("auto", *runs):
        return
    most = int(max(K for run, (_, K, *_) in runs.items() if chosen in ("auto", run)))
    if wrong := [str(number) for number in classes if number > most]:
        problem = f"there is no class {', '.join(wrong)}, as {classification} makes {most}"
        yield UserError(problem, f"name some of 1 to {most}, or auto", key)


def _of_cycle(where: str, settings: Cycle) -> Iterator[UserError]:
    """Variants that do nothing or the same as another, boxes, the choice of a variant."""
    for sweep in SWEEPS:
        key, seen = f"{where}.{sweep}", dict[str, str]()
        for name, variant in (getattr(settings, sweep) or {}).items():
            effect = str(variant.effective())
            if name in ("before", "auto"):
                problem = "the name has a meaning of its own"
                yield UserError(problem, "give the variant another", f"{key}.{name}")
            if effect in seen:
                problem = f"{name} is the same as {seen[effect]} in all that has an effect"
                yield UserError(problem, "change one, or leave it out with null", key)
            if sweep == "ctfrefine" and not variant.defocus and not variant.scale:
                problem = "refines neither defocus nor scale"
                yield UserError(problem, "turn one on, or leave it out", f"{key}.{name}")
            seen.setdefault(effect, name)
        choices, chosen = ["auto", "before", *seen.values()], getattr(settings.choose, sweep)
        if chosen not in choices:
            problem = f"there is no variant {chosen}"
            yield UserError(problem, f"choose one of {', '.join(choices)}", f"{where}.choose.{sweep}")
    box, estimation_box = settings.box, settings.estimation_box
    if box != "auto" and estimation_box != "auto" and estimation_box < box:
        problem = f"{estimation_box} px is smaller than the box of {box}"
        yield UserError(problem, "give at least that", f"{where}.estimation_box")


def without_step(name: str, given: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[UserError]:
    """Settings of steps that a round has not; those of the `default` config's round do not count."""
    for step in filter(is_step, given):
        if step not in given["steps"] and given[step] != default.get(step):
            problem = f"has no effect, as {step} is not among the round's steps"
            cure = f"add it to rounds.{name}.steps, or leave the settings out"
            yield UserError(problem, cure, f"rounds.{name}.{step}")


def without_effect(name: str, settings: Round, diameter: float) -> Iterator[UserError]:
    """What has no effect beside other settings of the round, or cuts into the particle; a default is not meant."""
    where, steps = f"rounds.{name}", settings.steps
    sharpened = {step: getattr(settings, step) for step in steps if kind_of(step) == "postprocess"}
    if settings.has("cycle"):
        sharpened["cycle.postprocess"] = settings.cycle.postprocess
    for part, chosen in sharpened.items():
        default = Postprocess.model_fields["autob_lowres"].default
        if chosen.bfactor != "auto" and chosen.autob_lowres != default:
            problem = f"has no effect beside a bfactor of {chosen.bfactor:g} Å²"
            yield UserError(problem, "it belongs to bfactor: auto", f"{where}.{part}.autob_lowres")
    for number, step in enumerate(steps):
        if kind_of(step) == "mask" and not _is_used(step, steps[number + 1 :], settings):
            part = part_of(step, settings.parts)
            problem = (
                f"{step} is used by no step after it" if part else "the mask is used by no step after it"
            )
            users = " or ".join(f"{kind}_{part}" if part else kind for kind in _MASKED[:2])
            yield UserError(problem, f"put {step} before {users}", f"{where}.steps")
        if getattr(getattr(settings, step), "alignment", "") == "none":
            yield from _without_alignment(f"{where}.{step}", getattr(settings, step))
        wide: Any = getattr(getattr(settings, step), "mask_diameter", "auto")
        if wide != "auto" and wide < diameter:
            problem = f"{wide:g} Å cuts into a particle of {diameter:g} Å (particle.diameter)"
            yield UserError(problem, "give more, or auto", f"{where}.{step}.mask_diameter")


def _is_used(mask: str, after: Sequence[str], settings: Round) -> bool:
    """Whether a step after a mask uses it: one of its own part, before the next mask of that, or by a body."""
    if bodies.STEP in after and mask in [body.mask for body in settings.multibody.bodies.values() if body]:
        return True
    part = part_of(mask, settings.parts)
    alike = [step for step in after if part_of(step, settings.parts) == part]
    until_next = takewhile(lambda step: kind_of(step) != "mask", alike)
    return any(
        kind_of(step) in _MASKED or (kind_of(step) == "class3d" and (part or getattr(settings, step).mask))
        for step in until_next
    )


def _without_alignment(where: str, given: Class3D) -> Iterator[UserError]:
    """Settings of a search for poses, of a classification that keeps them."""
    for key in SEARCHED:
        if getattr(given, key) != Class3D.model_fields[key].default:
            problem = "has no effect without alignment"
            yield UserError(problem, "set alignment: local or global, or leave it out", f"{where}.{key}")
