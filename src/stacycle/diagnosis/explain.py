"""Why a program failed, and what to do: from its exit status and the lines of its log, in plain sentences.

The tables of `known_faults` list what can fail; this module searches a log for it. A log often shows several errors:
every MPI rank repeats one, backtraces, MPI_ABORT and "terminate called" follow it, and it leads to crashes. The first
sentence that RELION gives as its error counts: only what stands in it or just before it can be the cause. The search
passes over what says no more than that something broke, and repeats a sentence that no table knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

from stacycle.diagnosis.known_faults import CRASHES, ENDINGS, FAULTS, OUTSIDE, UNMET, VAGUE, WARNINGS, Fault

LONGEST_LINE = 500  # characters of a line that are looked at; STAR rows can be far longer
FIRST_LINES, NEWEST_LINES = 500, 3000  # of a longer log that are searched
LINES_BEFORE = 25  # of a sentence, in which the system may have said what led to it
LAST_LINES = 5  # in which a warning may be why a program failed
LINES_OF_SENTENCE = 12  # RELION's longest ones say what matters in the first
# Said by healthy runs too: no display, Qt, graphics, MPI about its own plug-ins.
HARMLESS = re.compile(
    r"No protocol specified|cannot open display|Can't open display|qt\.qpa|QStandardPaths|libGL error"
    r"|Gtk-WARNING|/dev/dri/|hwloc/|\(ignored\)$|btl_openib|help_aggregate|sent help message"
)
# An error that RELION met and got over by itself.
MENDED = re.compile(r"WARNING: Exception \([\s\S]{0,800}?handled by switching to fail-safe mode\.?")
# RELION's last words where it stops without calling them an ERROR.
STOPS = re.compile(
    r"^(?:KERNEL_ERROR: |The input STAR file .* does not contain any particles"
    r"|Number of coarse translations larger than"
    r"|Something went wrong in the external Python call)"
)
WHAT = re.compile(r"^\s*what\(\):\s+(\S.*)")
AFTER_SENTENCE = re.compile(
    r"^(?:={3,}|-{5,}|\*{3}|in: |MPI_ABORT was invoked|terminate called"
    r"|(?:slurmstepd|srun|mpirun|mpiexec)\b|\[\S+:\d+\])"
)
SOURCE = re.compile(r"^in: (?:\S*/)?(?P<file>[^/\s]+), line (?P<line>\d+)")
# What a program did last: a pattern of its log, the most specific first, and the words for it.
PHASES = tuple(
    (re.compile(sign), phase)
    for sign, phase in (
        (r"RELION MPI setup|Running (?:CPU|GPU) instructions|\+ Initialising", "read its inputs"),
        (r"Reading in|^== Reading", "read its inputs"),
        (r"command-line parsing", "read its command line"),
        (r"Copying particles to scratch", "copied the particles to the scratch disk"),
        (r"Estimating initial noise", "estimated the noise of the particles"),
        (r"Estimating accuracies", "estimated the accuracy of the angles"),
        (r"Expectation iteration (?P<number>\d+(?: of \d+)?)", "did the expectation of iteration {number}"),
        (r"^ ?Maximi[sz]ation", "did the maximisation of iteration {number}"),
        (r"\+ Tomogram (?P<number>\d+ / \d+)", "worked on tomogram {number}"),
        (r"\+ Applying point-group symmetries", "applied the symmetry"),
        (r"\+ (?:Merging|Writing)|^== Writing|Written output", "wrote its results"),
        (r"^== (?P<number>\w[^:\n]*?)(?: \.\.\.|:)", "was at '{number}'"),
    )
)


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong, what to do, where the fault is known, and the `retry` that may cure it by itself.

    `retry` is "continue" (it passes by itself), "combine_via_disc" (weighted sums go through files, not MPI),
    "fewer_threads" (less memory) or None. `kind` is "fault", "outside" (of the machine, the queue or a person: the same
    command may well succeed), "unknown" (a failure that no table explains), "warning" (of a run that ended well) or
    "none" (no fault in the log).
    """

    cause: str
    cure: str
    link: str | None = None
    retry: str | None = None
    kind: Literal["fault", "outside", "unknown", "warning", "none"] = "fault"

    @property
    def known(self) -> bool:
        return self.kind != "unknown"

    def __str__(self) -> str:
        return f"{self.cause} {self.cure}"


NO_FAULT = Diagnosis(
    "The log shows no fault.",
    "RELION does not tell everything: stacycle looks for stacks that were cut short before a program starts, "
    "and at what it made when it has ended; if a run stopped here, see the log of the rule and "
    "`snakemake preflight`.",
    kind="none",
)


class Sentence(NamedTuple):
    """What RELION gives as its error: its words, and the lines that it takes from `start` to `end`."""

    words: str
    start: int
    end: int


def explain(program: str, exit_status: int | None, lines: Sequence[str]) -> Diagnosis:
    """Why `program` ended as it did: its exit status (None if not known) and the clean lines of its log.

    A negative status is a signal, as is one above 128. There is always an answer: without a known fault, RELION's own
    ERROR sentence or the log's last words (`kind` "unknown"); if all went well, NO_FAULT.
    """
    text = "\n".join(line[:LONGEST_LINE] for line in lines if not HARMLESS.search(line))
    lines = MENDED.sub("", text).split("\n")
    sentence = first_sentence(lines)
    log = _Log(program, lines, _signal(exit_status))
    warning = log.find(WARNINGS)
    if warning and not exit_status:
        warning = replace(warning, kind="warning")
    if exit_status == 0 and not sentence:
        return warning or NO_FAULT
    return (
        (log.of_sentence(sentence) if sentence else log.of_ending())
        or (log.find(WARNINGS, "\n".join(lines[-LAST_LINES:])) if exit_status else warning)
        or (_unknown(_last_words(log.text, exit_status)) if exit_status else NO_FAULT)
    )


def first_sentence(lines: Sequence[str]) -> Sentence | None:
    """The first sentence that a program gives as its error, which MPI, backtraces and C++ may talk over; or None."""
    for number, line in enumerate(lines):
        said = line.strip()
        if said == "ERROR:":
            filled = (after for after in range(number + 1, len(lines)) if lines[after].strip())
            first = next(filled, len(lines))
            end = _end(lines, first)
            if first < end and lines[first].strip() != "ERROR:":
                return Sentence(_one_sentence(lines[first:end]), max(0, number - 1), end)
        elif said.startswith("ERROR: ") or STOPS.search(said):
            return Sentence(said.removeprefix("ERROR: "), number, number + 1)
    for number, line in enumerate(lines):  # C++'s own, which nothing in the program caught
        if found := WHAT.match(line):
            return Sentence(found[1], max(0, number - 1), number + 1)
    return None


class _Log:
    """A log that is searched for known faults."""

    def __init__(self, program: str, lines: Sequence[str], signal: int | None) -> None:
        self.program, self.lines, self.signal = program, lines, signal
        self.text = _text(lines)

    def of_sentence(self, sentence: Sentence) -> Diagnosis:
        """The cause of RELION's own sentence; that sentence itself if no table knows it."""
        head = _text(self.lines[: sentence.end])
        near = "\n".join(self.lines[max(0, sentence.start - LINES_BEFORE) : sentence.end])
        words = "\n".join(self.lines[sentence.start : sentence.end])
        return (
            _from_outside(self.find(OUTSIDE, near, head))
            or self.find(UNMET, head)
            or self.find(FAULTS, words, head)
            or (self.find(VAGUE, words, head) and self.of_ending())
            or _unknown(sentence.words, self.context(sentence))
        )

    def of_ending(self) -> Diagnosis | None:
        """The cause that anything in the log, or the signal that ended the program, shows."""
        return (
            _from_outside(self.find(OUTSIDE))
            or self.find(UNMET)
            or self.find(FAULTS)
            or _from_outside(self.by_signal(ENDINGS, self.text))
            or self.find(VAGUE)
            or self.by_signal(CRASHES, self.text)
        )

    def find(
        self, faults: Iterable[Fault], text: str | None = None, head: str | None = None
    ) -> Diagnosis | None:
        """The first of the faults whose sign is in `text` (the whole log), and its detail in `head` (`text`)."""
        text = self.text if text is None else text
        for fault in faults:
            if re.search(fault.program, self.program):
                words = _words(fault, text, head or text)
                if words is not None:
                    return self._diagnosis(fault, words, head or text)
        return None

    def by_signal(self, faults: Iterable[Fault], text: str) -> Diagnosis | None:
        """The first of the faults whose sign is in `text`, or whose signal ended the program."""
        for fault in faults:
            words = _words(fault, text, text)
            if words is not None or (self.signal is not None and self.signal == fault.signal):
                return self._diagnosis(fault, words or {}, self.text)
        return None

    def context(self, sentence: Sentence) -> str:
        """Which program wrote a sentence, during which phase, and in which source file, if RELION names it."""
        phase, number = "", ""
        for line in self.lines[: sentence.start]:
            for sign, name in PHASES:
                if found := sign.search(line):
                    phase, number = name, found.groupdict().get("number") or number
        source = SOURCE.search(self.lines[sentence.start])
        context = f"{self.program or 'The program'} said so"
        context += f" while it {phase.format(number=number)}" if phase else ""
        return context + (f" ({source['file']}, line {source['line']})." if source else ".")

    def _diagnosis(self, fault: Fault, words: dict[str, str], text: str) -> Diagnosis:
        words = words | {"program": self.program or "The program", "where": _where(text)}
        return Diagnosis(fault.cause.format(**words), fault.cure.format(**words), fault.link, fault.retry)


def _words(fault: Fault, text: str, head: str) -> dict[str, str] | None:
    """What the groups of a fault's patterns found; None if it is not there."""
    found = _compiled(fault.sign).search(text)
    details = list(_compiled(fault.detail).finditer(head)) if fault.detail and found else []
    if not found or (fault.detail and not details):
        return None
    groups = found.groupdict() | (details[-1].groupdict() if details else {})
    return {name.rstrip("0123456789"): word.strip() for name, word in groups.items() if word}


def _text(lines: Sequence[str]) -> str:
    """The lines as one text; of a very long log only what a program says first, and what it said last."""
    if len(lines) > FIRST_LINES + NEWEST_LINES:
        lines = [*lines[:FIRST_LINES], *lines[-NEWEST_LINES:]]
    return "\n".join(lines)


def _end(lines: Sequence[str], start: int) -> int:
    """Where the sentence ends that starts at a line."""
    for number in range(start, min(len(lines), start + LINES_OF_SENTENCE)):
        if AFTER_SENTENCE.search(lines[number]) or (number > start and lines[number].strip() == "ERROR:"):
            return number
    return min(len(lines), start + LINES_OF_SENTENCE)


def _one_sentence(lines: Sequence[str]) -> str:
    """The first sentence of a message that may go over several lines."""
    words = ""
    for line in lines:
        if not line.strip():
            break
        words = f"{words} {line.strip()}".lstrip()
        if words.endswith((".", "!", "?", ":")):
            break
    return re.sub(r"^ERROR:? ", "", words)


def _from_outside(found: Diagnosis | None) -> Diagnosis | None:
    return found and replace(found, kind="outside")


def _unknown(cause: str, context: str = "") -> Diagnosis:
    cause = cause.rstrip()
    cause = cause if cause.endswith((".", "!", "?")) else f"{cause}."
    return Diagnosis(
        f"{cause} {context}".rstrip(),
        "This fault is not one that stacycle knows: read the lines above it in the log, and search for its "
        "words at https://github.com/3dem/relion/issues.",
        kind="unknown",
    )


def _last_words(text: str, exit_status: int) -> str:
    words = " | ".join(line.strip() for line in text.split("\n")[-3:])
    how = f"It gave no reason (exit status {exit_status})"
    return f"{how}; its last words were: {words}" if words else f"{how}, and said nothing"


def _signal(exit_status: int | None) -> int | None:
    """The signal that an exit status stands for: -N from Python, 128 + N from a shell."""
    if exit_status is None or 0 <= exit_status <= 128:
        return None
    return -exit_status if exit_status < 0 else exit_status - 128


def _where(text: str) -> str:
    """How far the program had come: its iteration or tomogram."""
    if found := re.findall(r"Expectation iteration (\d+(?: of \d+)?)", text):
        return f" in iteration {found[-1]}"
    if found := re.findall(r"\+ Tomogram (\d+) / (\d+)", text):
        return " at tomogram {} of {}".format(*found[-1])
    return ""


@cache
def _compiled(sign: str) -> re.Pattern[str]:
    return re.compile(sign, re.MULTILINE)
