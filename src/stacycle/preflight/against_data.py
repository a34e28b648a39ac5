"""What the config asks of the data: whether their tilts, particles, pixel and box sizes can give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from stacycle.errors import UserError, some
from stacycle.files import mrc
from stacycle.inputs.findings import DUPLICATES
from stacycle.preflight.environment import FINE, PROBLEM, WARNING, Row
from stacycle.provenance.particles import NEAR, too_many
from stacycle.recipe import auto, bodies, geometry
from stacycle.recipe.limits import FEWEST_PER_CLASS
from stacycle.recipe.rounds import Recipe
from stacycle.recipe.step_settings import kind_of
from stacycle.recipe.variants import variants
from stacycle.steps.registry import all_steps
from stacycle.steps.sizes import Numbers

FEWEST_TILTS = 10  # a tilt series with fewer was hardly meant
FEWEST_PER_HALF = 25  # particles; fewer make no FSC that means anything
FINER = 0.9  # x Nyquist: less is no rounding


def check(config: Mapping[str, Any], recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[Row]:
    """Whether there are enough tilts and particles, and whether the particle and the settings fit them; `facts` are
    those of the inputs (`merge.read`)."""
    tomograms, count = facts["tomograms"], facts["particles"]
    fewest = max(FEWEST_TILTS, median(one["tilts"] for one in tomograms) / 2)
    yield from _check_sizes(config, recipe, facts)
    if few := [one for one in tomograms if one["tilts"] < fewest]:
        names = some(f"{one['name']} ({one['tilts']})" for one in few)
        found = f"few tilts in {len(few)} of {len(tomograms)} tilt series: {names}"
        yield Row(WARNING, "tilt series", found, "see whether they are whole, or leave them out")
    diameter = config["particle"]["diameter"]
    thin = min(tomograms, key=lambda one: min(one["size"]) * one["pixel_size"])
    if diameter > (extent := min(thin["size"]) * thin["pixel_size"]):
        found = f"particle.diameter, {diameter:g} Å, is more than {thin['name']} measures, {extent:.0f} Å"
        yield Row(WARNING, "diameter", found, "check the diameter and rlnTomoSizeX/Y/Z")
    sweeps = [variants(recipe.settings(*one)) for one in recipe if kind_of(one[1]) == "class3d"]
    if classes := [int(K) for sweep in sweeps for _, K, *_ in sweep.values()]:
        yield _row_of_counts(count, max(classes), "class", FEWEST_PER_CLASS)
    if facts["without_angles"]:
        yield from _check_first_search(recipe, facts)
    steps = [kind_of(step) for _, step in recipe]
    if halves := next((step for step in steps if all_steps()[step].half_sets), ""):
        yield _row_of_counts(count, 2, "half set", FEWEST_PER_HALF)
        if "select" not in steps[: steps.index(halves)] and too_many(facts["near_pairs"], count):
            found = (
                f"{facts['near_pairs']} pairs of {count} particles lie within {NEAR:g} unbinned pixels, all in "
                f"{DUPLICATES}: the same particle, picked twice, which {halves} refuses"
            )
            cure = "set particle.duplicates: keep_one, or remove one of each pair"
            yield Row(PROBLEM, "particles", found, cure)


def _check_first_search(recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[Row]:
    """The first step that uses angles must search all, if there are particles without."""
    lacking = f"{sum(facts['without_angles'].values())} particles have no angles"
    first = next((one for one in recipe if kind_of(one[1]) in ("align", "class3d", "refine3d")), None)
    if first is None:
        return
    where, settings, kind = f"rounds.{first[0]}.{first[1]}", recipe.settings(*first), kind_of(first[1])
    begin = f"rounds.{first[0]}.start: initial_model"
    if kind == "align" and settings["local_range"] is not None:
        found = f"{where}.local_range, {settings['local_range']:g} degrees, is around angles, but {lacking}"
        cure = (
            f"set {begin}, which makes models of them first, or local_range: null, which searches everywhere"
        )
        yield Row(PROBLEM, "config", found, cure)
    if kind == "class3d" and settings["alignment"] == "local":
        found = f"{where}.alignment: local searches around angles, but {lacking}"
        yield Row(PROBLEM, "config", found, f"set it to global, or put align before it, and set {begin}")
    if kind == "class3d" and settings["alignment"] == "none":
        found = f"{where} turns no particle, but {lacking}"
        yield Row(PROBLEM, "config", found, f"put align before it, and set {begin}")
    if kind == "refine3d" and _searches_locally(settings):
        local = f"{settings['local_sampling']}, makes all searches local"
        found = f"{where}.local_sampling, {local}, but {lacking}"
        cure = f"put align before it, and set {begin}, or give a finer one than sampling"
        yield Row(PROBLEM, "config", found, cure)


def _searches_locally(settings: Mapping[str, Any]) -> bool:
    """Whether a refinement never searches all angles."""
    sampling = auto.sampling(settings["sampling"])
    return settings["local_sampling"] == "auto" or float(settings["local_sampling"]) >= sampling


def _check_sizes(config: Mapping[str, Any], recipe: Recipe, facts: Mapping[str, Any]) -> Iterator[Row]:
    """What a round is asked for that images of its pixel size and box cannot give."""
    series_pixel, diameter = facts["pixel_size"], config["particle"]["diameter"]
    tilts = max(one["tilts"] for one in facts["tomograms"])
    for name, round_ in recipe.rounds.items():
        pixel = series_pixel * round_["binning"]
        try:
            box = auto.box(round_["box"], diameter, pixel)
        except UserError:  # a row of its own (`disk.needed`)
            continue
        yield from _check_box(f"rounds.{name}.box", box, pixel, diameter)
        for step in round_["steps"]:
            given, where = recipe.settings(name, step), f"rounds.{name}.{step}"
            yield from _check_filters(where, given, pixel)
            mask = given.get("mask_diameter", "auto")
            if mask != "auto" and mask > box * pixel:
                found = f"{where}.mask_diameter, {mask:g} Å, is more than the box of {box} px, {box * pixel:.0f} Å"
                yield Row(WARNING, "config", found, "give less, a larger box, or auto")
            for key in ("file", "reference"):
                yield from _check_own_map(f"{where}.{key}", given.get(key))
            for body in given.get("bodies", ()):
                path = bodies.own_file(given["bodies"][body]["mask"])
                yield from _check_own_map(f"{where}.bodies.{body}.mask", path)
            if given.get("min_frames", 0) > tilts:
                found = f"{where}.min_frames, {given['min_frames']}, is more than the {tilts} tilts that there are"
                yield Row(PROBLEM, "config", found, "no particle would be left: lower it")
            if (given.get("crop") or 0) > box:
                found = f"{where}.crop, {given['crop']} px, is more than the box of {box} px"
                yield Row(PROBLEM, "config", found, "give less, or null")
            if step == "cycle":
                for part in ("mask", "postprocess"):
                    yield from _check_filters(f"{where}.{part}", given[part], series_pixel)
                if given["box"] != "auto":
                    yield from _check_box(f"{where}.box", given["box"], series_pixel, diameter)


def _check_own_map(where: str, path: str | None) -> Iterator[Row]:
    """A map or mask of one's own, that a mask is made of or that an initial model begins with."""
    try:
        if path:
            mrc.box_and_known_pixel(path)
    except UserError as error:
        yield Row(PROBLEM, "config", f"{where}: {error}", "name another map, or null")


def _check_box(where: str, box: int, pixel: float, diameter: float) -> Iterator[Row]:
    if box * pixel < diameter:
        found = f"{where}, {box} px of {pixel:g} Å, is smaller than the particle (particle.diameter, {diameter:g} Å)"
        yield Row(WARNING, "box", found, "give a box of 1.5 to 2 diameters, or auto")


def _check_filters(where: str, given: Mapping[str, Any], pixel: float) -> Iterator[Row]:
    """Low-pass filters and limits that are finer than any detail of the images; RELION's GUI rounds them a little."""
    finest = geometry.nyquist(pixel)
    keys = [("lowpass", PROBLEM), ("highres_limit", WARNING)]
    if given.get("bfactor") == "auto":
        keys.append(("autob_lowres", PROBLEM))
    for key, level in keys:
        value = given.get(key)
        if isinstance(value, int | float) and value < FINER * finest:
            shows = f"images of {pixel:g} Å/px can show, {finest:.4g} Å"
            found = f"{where}.{key}, {value:g} Å, is finer than {shows}"
            yield Row(level, "config", found, "give a coarser one" + ", or auto" * (key != "autob_lowres"))


def numbers_of(facts: Mapping[str, Any]) -> Numbers:
    """What the sizes of results follow from."""
    tomograms = facts["tomograms"]
    seen = [one["visible_tilts"] for one in tomograms for _ in range(one["particles"])]
    tilts = sum(one["tilts"] for one in tomograms)
    unknown = len(facts["unknown_hands"])
    return Numbers(facts["particles"], median(seen), facts["pixel_size"], len(tomograms), tilts, unknown)


def _row_of_counts(count: int, parts: int, kind: str, fewest: int) -> Row:
    found = f"{count / parts:.0f} of {count} for each {kind}, if shared out evenly among {parts}"
    if count >= fewest * parts:
        return Row(FINE, "particles", found)
    cure = f"below {fewest} each, results mean little: pick more particles"
    cure += ", or ask for fewer classes" * (kind == "class")
    return Row(PROBLEM if count < 2 * parts else WARNING, "particles", found, cure)
