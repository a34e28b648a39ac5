"""`stacycle import`, `export`, `adopt`, `workflow`: files of other programs, and where the workflow's own are."""

from __future__ import annotations

import argparse
from pathlib import Path

from stacycle.cli.record import FILES, Command, Given, Parser


def _options_of_workflow(parser: Parser) -> None:
    other = "another of the workflow's files or folders, such as profiles/slurm"
    parser.add_argument("name", metavar="NAME", nargs="?", default="Snakefile", help=other)


def _options_of_import(command: Parser) -> None:
    command.add_argument(
        "config", metavar="CONFIG", nargs="?", help="a config with inputs; or the options below"
    )
    command.add_argument("out", metavar="OUT", help="folder for the STAR files, below the project folder")
    command.set_defaults(keys=_add_keys_of_a_set(command))


def _options_of_adopt(parser: Parser) -> None:
    parser.add_argument("set", metavar="OPTIMISATION_SET", help="an optimisation_set.star in the project")


def _add_keys_of_a_set(command: Parser) -> tuple[str, ...]:
    """Give a command an option for each key of a set of the config; returns the keys."""
    from stacycle.recipe.config_schema import schema

    keys = schema()["properties"]["inputs"]["items"]["properties"]
    for key, node in keys.items():
        meaning = node["description"].replace("%", "%%")
        command.add_argument(f"--{key}", metavar="VALUE", help=meaning, default=argparse.SUPPRESS)
    return tuple(keys)


def _add_options_of_export(command: Parser) -> None:
    command.add_argument("format", metavar="FORMAT", help="relion, warp (M's, too), dynamo or copick")
    start = (
        "a job's folder or a STAR file of particles (default: the last resolution's in results/ladder.tsv)"
    )
    command.add_argument("--from", dest="start", metavar="PATH", help=start)
    command.add_argument("--tomograms", metavar="FILE", help="theirs, if no optimisation set beside says it")
    command.add_argument("--to", metavar="FOLDER", help="for the files (default: export/FORMAT)")
    pixel = "Å per voxel of the volume that positions are to count in"
    command.add_argument("--pixel", type=float, metavar="Å", help=pixel)
    size = "its voxels, if its centre is the tilt series' tomogram's, not its corner"
    command.add_argument("--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help=size)
    patterns = "patterns of the names of tomograms, as 'TS_0*' (default: all)"
    command.add_argument("--include", nargs="+", default=(), metavar="NAME", help=patterns)
    command.add_argument("--object", metavar="NAME", help="what copick calls the particle")
    command.add_argument("--split", action="store_true", help="relion: a STAR file per tomogram, too")
    command.add_argument("--force", action="store_true", help="overwrite files with something else in them")


def workflow(arguments: Given) -> int:
    """Print the path of the Snakefile, or of another of the workflow's files or folders."""
    from stacycle.workflow import path

    print(path(arguments.name))
    return 0


def import_(arguments: Given) -> int:
    """Write tilt series, tomograms and picks as STAR files of RELION 5, checked and merged, and nothing else: of the
    inputs of CONFIG, or of one set given by options. Without --particles there are tomograms and tilt series alone."""
    from stacycle.inputs import imported

    given = {key: value for key, value in vars(arguments).items() if key in arguments.keys}
    print(imported.write(arguments.config, given, arguments.out))
    return 0


def export(arguments: Given) -> int:
    """Write the particles of a result for another program, with shifts and turns applied. Nothing is written unless all
    of it can be, and no file with something else in it is overwritten."""
    from stacycle.exports import exported
    from stacycle.exports.export import ExportAsked

    asked = ExportAsked(
        Path(arguments.to or f"export/{arguments.format}"),
        arguments.pixel,
        tuple(arguments.size) if arguments.size else None,
        arguments.object,
        arguments.split,
        tuple(arguments.include),
    )
    print(exported.export(arguments.format, asked, arguments.start, arguments.tomograms, arguments.force))
    return 0


def adopt(arguments: Given) -> int:
    """Record that the particles, tomograms and trajectories of an optimisation set belong together.

    What the workflow makes is recorded by itself; this is for a state that was brought from elsewhere.
    """
    from stacycle.provenance import record

    known = record.adopt(arguments.set)
    print(f"{arguments.set}: recorded as a state, {known['id'][:12]}.")
    return 0


_VALUES = "An option's value is written as in a config: --size '[4096, 4096, 1200]'."
COMMANDS = [
    Command(
        "import",
        FILES,
        "aligned tilt series and picks of other programs as RELION 5's STAR files",
        import_,
        _options_of_import,
        more=_VALUES,
    ),
    Command(
        "export",
        FILES,
        "the final particles for RELION, Warp and M, Dynamo or copick",
        export,
        _add_options_of_export,
    ),
    Command("adopt", FILES, "declare that a state made elsewhere belongs together", adopt, _options_of_adopt),
    Command(
        "workflow", FILES, "the path of the Snakefile, for plain Snakemake", workflow, _options_of_workflow
    ),
]
