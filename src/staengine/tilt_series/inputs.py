"""The input state of a program that works on tilt series: read, checked, and in one order."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd

from staengine.cli import warn
from staengine.errors import EngineError
from staengine.tilt_series.optimisation_set import OptimisationSet, resolve_inputs
from staengine.tilt_series.particles import ParticleSet
from staengine.tilt_series.tomograms import OPTICS, Tomogram, load_tomograms

ABERRATIONS = ["rlnOddZernike", "rlnEvenZernike", "rlnMagMat00", "rlnBeamTiltX", "rlnBeamTiltY"]


def read_inputs(
    program: str, args: SimpleNamespace, log_level: int = 0, with_trajectories: bool = True
) -> tuple[OptimisationSet, dict[str, Tomogram], ParticleSet]:
    """What --i, --p, --t and --mot name (cli.INPUT): file names, tomograms by name, and particles (see `prepare`)."""
    state = resolve_inputs(program, args.i, args.p, args.t, args.mot)
    tomograms = load_tomograms(state.tomograms)
    particles = ParticleSet.read(state.particles, state.trajectories if with_trajectories else "")
    return state, tomograms, prepare(particles, tomograms, log_level)


def prepare(particles: ParticleSet, tomograms: dict[str, Tomogram], log_level: int = 0) -> ParticleSet:
    """Particles with names and optics groups, without those of undefined tomograms, sorted by tomogram.

    Logs each change in RELION's words. Raises EngineError if no particle is left, if a name appears
    twice, or if optics groups and tomograms contradict each other.
    """
    table = _with_names(particles, log_level)
    of_tomogram = table["rlnTomoName"]
    empty = [name for name in tomograms if not (of_tomogram == name).any()]
    unknown = sorted(set(of_tomogram) - set(tomograms))
    if len(empty) == len(tomograms):
        raise EngineError(
            f"{particles.path}: none of its tomograms ({', '.join(unknown[:5])}) is in the tomograms file "
            f"({', '.join(empty[:5])}); rlnTomoName must agree."
        )
    if empty:
        warn(f"No particles were found for the following tomograms: {', '.join(empty)}", log_level)
    if unknown:
        undefined = ", ".join(unknown)
        warn(f"Particles were found belonging to the following undefined tomograms: {undefined}", log_level)
    order = {name: number for number, name in enumerate(tomograms)}
    table = table[of_tomogram.isin(order)]
    table = table.sort_values("rlnTomoName", key=lambda names: names.map(order), kind="stable")
    result = replace(particles, particles=table.reset_index(drop=True))
    if result.optics is None:
        _add_optics(result, tomograms)
    _check_optics(result, tomograms)
    result.check_trajectories(tomograms)
    return result


def _with_names(particles: ParticleSet, log_level: int) -> pd.DataFrame:
    """The particle table with rlnTomoParticleName; new names are TOMOGRAM/NUMBER."""
    table, names = particles.particles.copy(), "rlnTomoParticleName"
    if names not in table:
        warn(
            f"The particles in {particles.path} do not have names ({names}). They are being added now.",
            log_level,
        )
        number = table.groupby("rlnTomoName").cumcount() + 1
        table[names] = table["rlnTomoName"] + "/" + number.astype(str)
    # copies of a particle, as of relion_particle_symmetry_expand, have its place and name
    place = [label for label in table if "Coordinate" in str(label)]
    places = table.drop_duplicates(["rlnTomoName", names, *place])
    repeated = places[names][places[["rlnTomoName", names]].duplicated()]
    if len(repeated):
        raise EngineError(
            f"{particles.path}: particle {repeated.iloc[0]} appears twice; {names} must be unique."
        )
    return table


def _add_optics(particles: ParticleSet, tomograms: dict[str, Tomogram]) -> None:
    """Make optics groups from the tomograms' rlnOpticsGroupName."""
    groups = particles.particles["rlnTomoName"].map(lambda name: tomograms[name].optics_group)
    names = list(dict.fromkeys(groups))
    first = [next(t for t in tomograms.values() if t.optics_group == name) for name in names]
    particles.optics = pd.DataFrame(
        {column: [getattr(tomogram, attribute) for tomogram in first] for column, attribute in OPTICS.items()}
        | {"rlnOpticsGroup": range(1, len(names) + 1), "rlnOpticsGroupName": names}
    )
    before_name = list(particles.particles.columns).index("rlnTomoParticleName")
    numbers = groups.map({name: number for number, name in enumerate(names, 1)})
    particles.particles.insert(before_name, "rlnOpticsGroup", numbers)


def _check_optics(particles: ParticleSet, tomograms: dict[str, Tomogram]) -> None:
    assert particles.optics is not None
    optics = particles.optics.set_index("rlnOpticsGroup")
    for column in ABERRATIONS:
        if column in optics and (optics[column].astype(str).str.strip("[]0,. ") != "").any():
            raise EngineError(f"{particles.path}: the embedded engine has no aberrations ({column}).")
    pairs = particles.particles[["rlnOpticsGroup", "rlnTomoName"]].drop_duplicates()
    for group, name in pairs.itertuples(index=False):
        if group not in optics.index:
            raise EngineError(f"{particles.path}: optics group {group} is not in table data_optics.")
        for column, attribute in OPTICS.items():
            expected = getattr(tomograms[name], attribute)
            if column in optics and abs(optics.loc[group, column] - expected) > 1e-3:
                raise EngineError(
                    f"{particles.path}: {column} of optics group {group} is {optics.loc[group, column]:g}, "
                    f"but {expected:g} in tomogram {name}."
                )
