"""Which names and paths are safe: RELION gives some to a shell, and takes others apart at characters of its own.

Seen by running RELION 5.0.1. Extraction runs `mkdir -p OUT/Subtomograms/DIR` in a shell with DIR from the
particle's name, so a tomogram called `a;touch x;` is executed; of its scratch folder it runs `rm -rf`, so a blank
in there deletes another folder. Names of images and STAR files are never executed, but cut at `:`, `#`, `%` and `@`,
and CTF refinement and polishing write each tilt series under its old path in their own folder, which `..` leaves.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LONGEST = 150  # characters; file systems take 255, of which RELION and a set's name in front use some
_DEEPEST = 20  # folders in a path that RELION looks for a job's folder in
_NAME = re.compile(r"(?!data_|loop_)[A-Za-z0-9][A-Za-z0-9_.+-]*")  # those two begin tables of STAR files
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/ -]*")
_SHELL_SAFE_PATH = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+,=@-]*")
_RELION_JOB = re.compile(r"^(?:.*?/)?job\d{3}[^/]*/")

# What a value of a STAR file cannot have in it.
NOT_IN_STAR = r"""["'\x00-\x1f\x7f]|^#"""
# What programs write where there is no name.
ABSENT = ("", "nan", "None", "<NA>", "null")
LABEL_RULE = "use one word without quotes and signs"
NAME_RULE = f"use letters, digits and _ . + -, with a letter or digit first, at most {LONGEST} characters"


def is_name(text: str) -> bool:
    """Whether RELION can make a folder of this name, and of nothing else: for tomograms and sets."""
    return len(text) <= LONGEST and _NAME.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether this stays one word in a STAR file: for optics groups, which no file is named after."""
    return text.isprintable() and re.search(r"""[\s"'#;$`\\]|^[-_]|^$""", text) is None


def is_plain_path(path: str) -> bool:
    """Whether this is a path below the project folder that RELION can write again below a folder of its own."""
    parts = path.split("/")
    return bool(_PLAIN_PATH.fullmatch(path)) and len(parts) < _DEEPEST and not {"", ".", ".."} & set(parts)


def is_image(path: str) -> bool:
    """Whether RELION opens the file of this name, and does not take it for a format, number or size."""
    return path.isprintable() and re.search(r"[:#%@]", path) is None


def is_shell_safe(path: str) -> bool:
    """Whether a shell takes this for one word that stands for itself."""
    return _SHELL_SAFE_PATH.fullmatch(path) is not None


def has_braces(text: str) -> bool:
    """Whether Snakemake would take it for a pattern with wildcards."""
    return "{" in text or "}" in text


def written_again_as(path: str) -> str:
    """The path below its own folder under which RELION writes a tilt series anew: without a job's folder in front."""
    return _RELION_JOB.sub("", path)


def prepended(folder: str | Path, paths: str | None) -> str:
    """A search path, such as PYTHONPATH, with a folder before all others, once."""
    others = [path for path in (paths or "").split(os.pathsep) if path and path != str(folder)]
    return os.pathsep.join([str(folder), *others])
