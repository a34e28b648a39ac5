"""How many error sentences of RELION 5.0.1 `stacycle diagnose` explains, by what they are about.

    .venv/bin/python tests/relion_sentences.py [--relion FOLDER] [--list | --unexplained]

`relion_sentences.tsv` beside this file has every sentence with which a program that the workflow runs can end: the
source file, what it is about, the program (or, if no command of the workflow gets there, why), and its words, with
{file}, {label}, {n} and the like for what RELION fills in. A sentence counts as explained if `explain` knows its cause
in a log that ends with it, and more than that something broke (`VAGUE`). With `--relion`, the sentences are taken from
a checkout of RELION's source instead, and each is looked up in the table: one that is missing there is named.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stacycle.diagnosis.explain import Diagnosis, explain
from stacycle.diagnosis.known_faults import VAGUE

TABLE = Path(__file__).with_suffix(".tsv")
KINDS = (
    "input files",
    "flags",
    "masks",
    "GPU",
    "MPI",
    "memory and disk",
    "installation",
    "numbers",
    "internal",
)
PROMISED = ("input files", "flags", "masks")  # the kinds of which nearly all are to be explained
PROMISED_SHARE = 0.95
UNREACHABLE, INTERNAL = "unreachable", "internal"
MAINS = (
    "apps/refine.cpp",
    "apps/refine_mpi.cpp",
    "apps/mask_create.cpp",
    "apps/postprocess.cpp",
    "jaz/tomography/apps/subtomo.cpp",
    "jaz/tomography/apps/reconstruct_particle.cpp",
    "jaz/tomography/apps/refine_ctf.cpp",
    "jaz/tomography/apps/align.cpp",
)
PROGRAMS = {  # a program for each name in the column `by`
    "refine": "relion_refine",
    "refine_mpi": "relion_refine_mpi",
    "mask_create": "relion_mask_create",
    "postprocess": "relion_postprocess",
    "subtomo": "relion_tomo_subtomo",
    "reconstruct": "relion_tomo_reconstruct_particle",
    "ctf": "relion_tomo_refine_ctf",
    "align": "relion_tomo_align",
    "tomo": "relion_tomo_subtomo",
    "all": "relion_refine",
}
VALUES = {
    "size": "24x24x24",
    "command": "rm -rf /scratch/relion_volatile",
    "file": "input/tilt_series/TS_01.mrcs",
    "label": "rlnTomoName",
    "n": "7",
}
LONGEST = 200  # characters of a sentence that are kept; a few of RELION's are pages long


@dataclass(frozen=True)
class Sentence:
    """One error sentence: where it stands, what it is about (`kind`), which programs end with it.

    If `kind` is "unreachable", `by` says in a word why no command of the workflow gets there.
    """

    file: str
    kind: str
    by: str
    words: str

    def log(self) -> list[str]:
        """The end of a log in which a program says this sentence."""
        said = self.words.format(**VALUES).split("\n")
        return [
            f"in: /opt/relion/src/{self.file}, line 100",
            "ERROR: ",
            *said,
            "=== Backtrace  ===",
            "===",
            *said,
        ]

    def diagnosis(self) -> Diagnosis:
        return _diagnosis(self)

    @property
    def explained(self) -> bool:
        """Whether its cause is known, and is more than that something broke."""
        vague = any(re.search(fault.sign, "\n".join(self.log())) for fault in VAGUE)
        return self.diagnosis().known and not vague


@cache
def _diagnosis(sentence: Sentence) -> Diagnosis:
    return explain(PROGRAMS[sentence.by], 1, sentence.log())


def table() -> list[Sentence]:
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Sentence(*(part.replace("\\n", "\n") for part in row)) for row in rows[1:]]


def count(sentences: Sequence[Sentence]) -> dict[str, tuple[int, int]]:
    """For each kind how many sentences are explained, and of how many."""
    of = Counter(sentence.kind for sentence in sentences if sentence.kind != UNREACHABLE)
    explained = Counter(sentence.kind for sentence in sentences if sentence.kind in of and sentence.explained)
    return {kind: (explained[kind], of[kind]) for kind in KINDS}


# -- from RELION's source


def sources(relion: Path) -> Iterator[Path]:
    """The source files of the workflow's programs: those that include each other from their main files on."""
    seen: set[Path] = set()
    left = [relion / "src" / main for main in MAINS]
    while left:
        path = left.pop().resolve()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        yield path
        left += [path.with_suffix(suffix) for suffix in (".cpp", ".cu")]
        for name in re.findall(r'#include\s*[<"]([^>"]+)[>"]', _text(path)):
            left += [folder / name for folder in (relion, path.parent, relion / "src")]


def sentences_of(relion: Path) -> Iterator[tuple[str, str]]:
    """The file and the words of each error sentence in RELION's source, each once."""
    named = _named(_code(relion / "src/error.h"))
    found = {
        (str(path.relative_to(relion / "src")), words)
        for path in sources(relion)
        for words in _errors(path, named)
    }
    yield from sorted(found)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _code(path: Path) -> str:
    """A source file without its comments; every line keeps its number."""
    pattern = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/'
    return re.sub(
        pattern,
        lambda found: re.sub(r"[^\n]", " ", found[0]) if found[0][0] == "/" else found[0],
        _text(path),
        flags=re.S,
    )


def _named(code: str) -> dict[str, str]:
    """The sentences that have a name: #define NAME "words"."""
    return {
        found[1]: _words(found[2], {})
        for found in re.finditer(r'#define\s+(\w+)\s+(\(?\s*"(?:[^\n]*\\\n)*[^\n]*)', code)
        if not found[1].startswith(("DEVERR", "ADVERR"))
    }


def _errors(path: Path, named: dict[str, str]) -> Iterator[str]:
    code = _code(path)
    raised = r"(?<!define )\b(?:REPORT_ERROR(?:_STR)?|CRITICAL|(?:parser\.)?reportError)\s*\(|\bthrow\s+std::\w+\s*\("
    for found in re.finditer(raised, code):
        argument = code[found.end() : _closing(code, found.end() - 1)]
        yield from _filled(argument, named, code[: found.start()], path)
    for found in re.finditer(r"(?:\bcerr|\bcout|printf\s*\()[^;]*;", code):
        if re.search(
            r"(?<!DEBUG_)(?<!KERNEL_)\bERROR\b[ :!]|Exiting\.\.\.|went wrong|GPU not supported|run-time error",
            found[0],
        ):
            yield from _filled(found[0], named, code[: found.start()], path)


def _filled(argument: str, named: dict[str, str], before: str, path: Path) -> Iterator[str]:
    if '"' not in argument:
        name = argument.strip()
        if name == "errmsg":  # the default of the function's own argument
            function = re.findall(r"(\w+)\s*\([^(){};]*errmsg\)", before)[-1]
            default = re.search(
                rf'\b{function}\s*\([^;{{]*?errmsg\s*=\s*"([^"]*)"', _code(path.with_suffix(".h"))
            )
            argument = f'"{default[1]}"' if default else ""
        elif name in named:
            yield named[name]
            return
        else:  # the last value of a variable
            assigned = re.findall(rf"\b{re.escape(name)}\s*\+?=\s*([^;]*\"[^;]*);", before)
            argument = assigned[-1] if assigned else ""
    if words := _words(argument, named):
        yield words


def _words(expression: str, named: dict[str, str]) -> str:
    """What a C++ expression says: its literals, with {file}, {label} or {n} for a value between them."""
    expression = re.sub(r"\\\n", " ", expression)
    words = ""
    for part in re.findall(r'"(?:\\.|[^"\\])*"|[^"]+', expression):
        if part[0] == '"':
            words += (
                re.sub(r"%\d*(?:\.\d+)?[a-z]+", "{n}", part[1:-1])
                .replace("\\n", "\n")
                .replace("\\t", " ")
                .replace('\\"', '"')
            )
        elif value := re.search(
            r"[A-Za-z_]\w*",
            re.sub(r"std::(string|endl|c?err|cout)|static_cast|c?err\b|cout\b|printf", "", part),
        ):
            kind = (
                "label"
                if "label2Str" in part
                else "size"
                if "getSizeString" in part
                else "command"
                if "command" in part
                else "n"
                if re.search("ToString|itoa|[sS]ize|[nN]um|index|dim", part)
                else ""
            )
            kind = kind or ("file" if re.search(r"(?i)fn|file|path|dir|\bname|src|dst", part) else "n")
            words += f"{{{kind}}}" if value else ""
    words = re.sub(r"[ \t]+", " ", re.sub(r"\{(?!(file|label|n|size|command)\})", "{{", words)).strip()
    words = re.sub(r"\s*\n\s*", "\n", words)[:LONGEST]
    return re.sub(r"^(\{n\})?\W*ERROR ?: ?|\n\{(n|file)\}$|(?<=[\w.)])\{n\}$", "", words).strip()


def _closing(code: str, start: int) -> int:
    depth, quoted = 0, False
    for position in range(start, len(code)):
        letter = code[position]
        if letter == '"' and code[position - 1] != "\\":
            quoted = not quoted
        depth += 0 if quoted else {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return position
    return len(code)


def report(sentences: Sequence[Sentence]) -> Iterator[str]:
    """The counts in lines, one for each kind."""
    yield f"{'error sentences about':24}explained     of"
    counts = count(sentences)
    for kind, (explained, of) in counts.items():
        if kind == INTERNAL:
            continue
        yield f"{kind:24}{explained:9}{of:7}{_share(explained, of)}"
    internal = counts.pop(INTERNAL)
    explained, of = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    yield f"{'all of these':24}{explained:9}{of:7}{_share(explained, of)}"
    yield f"{internal[1]} more are checks of RELION's own code; {internal[0]} of them explained."
    why = Counter(sentence.by for sentence in sentences if sentence.kind == UNREACHABLE)
    yield f"{sum(why.values())} that none can reach: " + ", ".join(
        f"{reason} ({of})" for reason, of in why.most_common()
    )


def _share(explained: int, of: int) -> str:
    return f"{explained / of:8.0%}" if of else ""


def from_source(relion: Path, known: Sequence[Sentence]) -> tuple[list[Sentence], list[str]]:
    """The sentences of a checkout with what the table says of each, and those that it does not have."""
    rows = {(sentence.file, sentence.words): sentence for sentence in known}
    found, missing = [], []
    for file, words in sentences_of(relion):
        row = rows.get((file, words)) or rows.get((file, "*"))
        if row:
            found.append(Sentence(file, row.kind, row.by, words))
        else:
            missing.append(f"{file}: {words}")
    return found, missing


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status is 1 if too few sentences are explained, or the table lacks one of the source."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--relion", type=Path, metavar="FOLDER", help="a checkout of RELION 5.0.1's source")
    parser.add_argument("--list", action="store_true", help="show the cause and cure of each sentence")
    parser.add_argument(
        "--unexplained", action="store_true", help="show the sentences without an explanation"
    )
    given = parser.parse_args(arguments)
    sentences, missing = from_source(given.relion, table()) if given.relion else (table(), [])
    for sentence in sentences:
        if sentence.kind == UNREACHABLE or not (given.list or given.unexplained):
            continue
        found = sentence.diagnosis()
        if given.list and sentence.explained:
            print(f"{sentence.kind}: {sentence.words.splitlines()[0]}\n  -> {found.cause}\n  -> {found.cure}")
        elif given.unexplained and not sentence.explained:
            print(f"{sentence.kind}: {sentence.file}: {sentence.words.splitlines()[0]}")
    print("\n".join([*report(sentences), *(f"not in the table: {words}" for words in missing)]))
    return 1 if missing or too_few(sentences) else 0


def too_few(sentences: Sequence[Sentence]) -> list[str]:
    """The promised kinds of which fewer are explained than promised."""
    counts = count(sentences)
    return [kind for kind in PROMISED if counts[kind][0] < PROMISED_SHARE * counts[kind][1]]


if __name__ == "__main__":
    sys.exit(main())
