"""simulate: tilt series of phantoms, with the truth beside them (see simulation.simulate)."""

from __future__ import annotations

from dataclasses import fields

from staengine import cli
from staengine.simulation.settings import SimulationSettings
from staengine.simulation.simulate import simulate

FLAGS = {f"--{f.name}": cli.Flag("value", f.default, f.metadata["help"]) for f in fields(SimulationSettings)}


def main(argv: list[str]) -> int:
    values = cli.parse("simulate", FLAGS, argv)
    settings = SimulationSettings(**{f.name: getattr(values, f.name) for f in fields(SimulationSettings)})
    simulate(settings)
    print(f" Done! Written {settings.o}")
    return 0
