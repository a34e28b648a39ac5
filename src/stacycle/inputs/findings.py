"""What the checks of the inputs found: problems, warnings, and what was mended; a sentence each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stacycle.checks.doubts import Doubt, messages
from stacycle.errors import UserError, some

if TYPE_CHECKING:
    import pandas as pd

DUPLICATES = "results/duplicates.tsv"


class Taken(NamedTuple):
    """What was taken from the files of a set's source: `kind` such as "axis"; `said` what, and from which file."""

    whose: str
    kind: str
    said: str


@dataclass
class Findings:
    """`problems` keep anything from running; `files` are those that were checked."""

    problems: list[UserError] = field(default_factory=list)
    warnings: list[UserError] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    doubts: list[Doubt] = field(default_factory=list)  # about numbers
    taken: list[Taken] = field(default_factory=list)
    pairs: pd.DataFrame | None = None  # of particles picked twice, as DUPLICATES has them
    _mended: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, problem: str, cure: str = "", key: str = "") -> None:
        """Note a problem."""
        self.problems.append(UserError(problem, cure, key))

    def warn(self, what: str, cure: str = "") -> None:
        """Note something that is allowed but seldom meant."""
        self.warnings.append(UserError(what, cure))

    def mended(self, what: str, file: str) -> None:
        """Note that the copy of a file under results/inputs is without something, such as comments between rows."""
        files = self._mended.setdefault(what, [])
        if file not in files:
            files.append(file)

    def summarise(self) -> None:
        """Make one sentence for all files that were mended, or are in doubt, in the same way."""
        for what, files in self._mended.items():
            self.warn(f"Mended in the copy under results/inputs: {what}: {some(files, 2)}")
        problems, warnings = messages(self.doubts)
        self.problems += problems
        self.warnings += warnings
        self._mended.clear()
        self.doubts.clear()

    def as_if_in(self, folder: str, temporary: str) -> None:
        """Name files of a temporary folder as those that will be in `folder`; they are not among the checked ones."""

        def moved(one: UserError) -> UserError:
            problem, cure = (text.replace(temporary, folder) for text in (one.problem, one.cure))
            return UserError(problem, cure, one.key)

        self.problems[:] = map(moved, self.problems)
        self.warnings[:] = map(moved, self.warnings)
        self.files = {file for file in self.files if not file.startswith(temporary)}
        if self.pairs is not None:
            self.pairs = self.pairs.replace({temporary: folder}, regex=True)

    def write_pairs(self) -> None:
        """Write the particles picked twice to the file DUPLICATES, or remove it if there are none."""
        path = Path(DUPLICATES)
        if self.pairs is None or self.pairs.empty:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.pairs.to_csv(path, sep="\t", index=False)
