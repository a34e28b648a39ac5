"""The command `stacycle`: what a person does with a project, in its folder. A module here has a command or a few."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from stacycle import __version__
from stacycle.cli.record import GROUPS, Command
from stacycle.errors import Interrupted, UserError

MODULES = ("init", "plans", "run", "status", "look", "change", "branches", "checks", "exchange")


def commands() -> dict[str, Command]:
    """All commands by name, in the order of `stacycle --help`."""
    found = [one for name in MODULES for one in import_module(f"{__name__}.{name}").COMMANDS]
    return {one.name: one for one in sorted(found, key=lambda one: GROUPS.index(one.group))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `stacycle`. Returns the exit status: 2 for a usage mistake, with a sentence."""
    words = list(sys.argv[1:] if argv is None else argv)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return _run(words)
    except (UserError, Interrupted) as error:
        print(f"stacycle: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `stacycle status | head`
        sys.stderr.close()
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        print(f"stacycle: {reason}; mend that, then try again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stacycle: stopped.", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    known = commands()
    if not words:
        print(_help(known), file=sys.stderr)
        return 2
    if words[0] in ("-h", "--help", "help"):
        print(_help(known))
        return 0
    if words[0] in ("-V", "--version"):
        print(f"stacycle {__version__}")
        return 0
    if words[0] not in known:
        close = difflib.get_close_matches(words[0], known, n=1)
        cure = f"did you mean stacycle {close[0]}?" if close else "stacycle --help lists them"
        raise UserError(f"{words[0]}: there is no such command", cure)
    command = known[words[0]]
    parser = _Parser(
        prog=f"stacycle {command.name}",
        description=command.run.__doc__,
        epilog=command.more or None,
        allow_abbrev=False,
    )
    command.options(parser)
    own, more = _split(parser, words[1:]) if command.passes_on else (words[1:], [])
    given = parser.parse_args(own)
    given.more = more
    return command.run(given)


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are a sentence."""

    def error(self, message: str) -> NoReturn:
        found = message.removeprefix("unrecognized arguments: ")
        if found != message:
            unknown = found.split()[0]
            names = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(unknown, names, n=1)
            cure = f"did you mean {close[0]}?" if close else f"{self.prog} --help lists what it takes"
            raise UserError(f"{self.prog}: {unknown} is not known here", cure)
        raise UserError(f"{self.prog}: {message}", f"{self.prog} --help shows how")


def _split(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command's own words, and those for Snakemake: what follows `--`, and its options with their values.
    UserError for an option that neither knows."""
    own: list[str] = []
    more: list[str] = []
    mine = parser._option_string_actions
    waiting = 0.0  # values that the last option of Snakemake's can still take
    for number, word in enumerate(words):
        name = word.partition("=")[0]
        if word == "--":
            return own, [*more, *words[number + 1 :]]
        if not word.startswith("-") or word == "-" or _is_number(word):
            into = more if waiting > 0 else own
            into.append(word)
            waiting -= 1
        elif name in mine or (not name.startswith("--") and name[:2] in mine):
            own.append(word)
            waiting = 0
        else:
            more.append(word)
            waiting = _values(parser, name, word)
    return own, more


def _values(parser: argparse.ArgumentParser, name: str, word: str) -> float:
    """How many values an option of Snakemake's can take. UserError if there is none of that name."""
    from stacycle import snakemake_api

    action = snakemake_api.option(name)
    if action is None:
        names = [*parser._option_string_actions, *snakemake_api.options()]
        close = difflib.get_close_matches(name, names, n=1)
        cure = f"did you mean {close[0]}?" if close else f"{parser.prog} --help lists the options"
        raise UserError(f"{name}: neither {parser.prog} nor Snakemake has such an option", cure)
    return 0 if "=" in word else snakemake_api.most_values(action, word)


def _is_number(word: str) -> bool:
    return word[1:].replace(".", "", 1).isdigit()


def _help(known: dict[str, Command]) -> str:
    lines = ["Subtomogram averaging with RELION 5. In the folder of your project: stacycle COMMAND", ""]
    for group in GROUPS:
        lines.append(f"{group}:")
        lines += [f"  {one.name:9} {one.help}" for one in known.values() if one.group == group]
        lines.append("")
    lines.append(
        "stacycle COMMAND --help says more. Options of Snakemake are passed on, and what follows --."
    )
    return "\n".join(lines)
